"""What is deployed is what was judged: attestations by a key, by workflows, and each way in which one is no proof."""

import base64
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import configured, copy_of_bundle, ml, one_line
from stand_ins import StandIns, stand_ins  # noqa: F401

from ml.attestation import attest
from ml.attestation.attest import PREDICATE, PROVENANCE, SUMS, VERDICT
from ml.attestation.signing import Key, new_key
from ml.attestation.statement import PAYLOAD, Statement, Subject
from ml.attestation.verify import verify
from ml.contract import bundle as bundles
from ml.contract import release, verdict
from ml.contract.release import Arm, Experiment, Release
from ml.errors import ContractError
from ml.promotion.promote import promote
from ml.settings import settings

IMAGE = f"registry.example.org/team/churn-serving@sha256:{'e' * 64}"


class Place(NamedTuple):
    """A project's store with a bundle that was judged, and its baseline, which was not."""

    folder: Path
    digest: str
    baseline: str

    @property
    def attested(self) -> Path:
        """The envelope beside the bundle."""
        (found,) = (self.folder / "store" / "attestations" / self.digest).iterdir()
        return found

    def release(self, **told: Any) -> None:
        """Let this be released in staging."""
        release.write(Release(**({"champion": self.digest} | told)), "staging")

    def sign(self, statement: Statement, name: str = "forged") -> None:
        """Put a statement beside its subject, signed by the key."""
        conf = settings()
        Key(conf.public_key).sign(conf.store_url, statement, conf.signing_key, name)


@pytest.fixture
def place(bundle: tuple[str, str], tmp_path: Path) -> Iterator[Place]:
    """A place with a key, where the bundle is attested and released in staging."""
    store = tmp_path / "store"
    copy_of_bundle(bundle, store)
    secrets = {"ML_SERVE_SECRETS": tmp_path / "secrets", "ML_RELEASE_FOLDER": tmp_path / "environments"}
    with configured(ML_STORE_URL=store, **secrets):
        found = Place(tmp_path, bundle[1], bundles.load(*bundle).baseline)
        new_key(settings().signing_key, settings().public_key)
        attest.attest(found.digest, None)
        found.release()
        yield found


def refused(match: str) -> Any:
    return pytest.raises(ContractError, match=match)


def trying(mode: Any, digest: str) -> Experiment:
    return Experiment(name="a-try", mode=mode, arms={"challenger": Arm(bundle=digest, percent=10)})


def test_a_bundle_that_passed_and_was_attested_is_proved_without_a_network(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify("staging").champion == place.digest
    assert "bundles (1) and images (0) of plan" in capsys.readouterr().out


def test_what_is_signed_is_the_standards_statement_over_the_sums_of_the_bundle(place: Place) -> None:
    envelope = json.loads(place.attested.read_bytes())
    told = json.loads(base64.b64decode(envelope["payload"]))
    assert (envelope["payloadType"], told["_type"]) == (PAYLOAD, "https://in-toto.io/Statement/v1")
    assert told["subject"] == [{"name": SUMS, "digest": {"sha256": place.digest}}]
    assert told["predicateType"] == VERDICT
    assert told["predicate"]["challenger"]["bundle"] == place.digest
    assert told["predicate"]["answer"] == "pass"


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl: apt-get install openssl")
def test_openssl_proves_a_signature_as_the_specification_encodes_it(place: Place) -> None:
    envelope = json.loads(place.attested.read_bytes())
    payload = base64.b64decode(envelope["payload"])
    over, signature = place.folder / "over", place.folder / "signature"
    over.write_bytes(f"DSSEv1 {len(PAYLOAD)} {PAYLOAD} {len(payload)} ".encode() + payload)
    signature.write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    asked = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", settings().public_key, "-rawin"]
    asked += ["-in", over, "-sigfile", signature]
    assert "Successfully" in subprocess.run(asked, capture_output=True, text=True, check=True).stdout


def test_the_key_is_for_its_owner_alone_and_never_replaced(place: Place) -> None:
    assert settings().signing_key.stat().st_mode & 0o777 == 0o600
    before = settings().signing_key.read_bytes()
    with refused("signing-key is there already"):
        new_key(settings().signing_key, place.folder / "other.pem")
    assert settings().signing_key.read_bytes() == before


def test_an_altered_bundle_is_refused(place: Place) -> None:
    model = Path(bundles.folder(settings().store_url, place.digest)) / "model.onnx"
    model.write_bytes(model.read_bytes() + b"\0")
    with refused("was altered"):
        verify("staging")


def test_a_bundle_that_nobody_attested_is_refused(place: Place) -> None:
    shutil.rmtree(place.folder / "store" / "attestations")
    with refused(f"{place.digest[:12]} is not attested"):
        verify("staging")


def test_a_bundle_that_another_key_attested_is_refused(place: Place) -> None:
    settings().signing_key.unlink()
    settings().public_key.unlink()
    new_key(settings().signing_key, settings().public_key)
    with refused("is attested by another key"):
        verify("staging")


def test_an_altered_envelope_is_refused(place: Place) -> None:
    envelope = json.loads(place.attested.read_bytes())
    told = base64.b64decode(envelope["payload"]).replace(b'"attempts": 1', b'"attempts": 2')
    place.attested.write_text(json.dumps(envelope | {"payload": base64.b64encode(told).decode()}))
    with refused("altered after it was signed"):
        verify("staging")
    place.attested.write_text("{")
    with refused("an envelope cannot be read"):
        verify("staging")


def test_the_attestation_of_another_bundle_is_refused(place: Place) -> None:
    store = place.folder / "store" / "attestations"
    shutil.copytree(store / place.digest, store / place.baseline)
    place.release(champion=place.baseline)
    with refused(f"{place.baseline[:12]} lies beside an attestation of SUMS {place.digest[:12]}"):
        verify("staging")


def test_a_verdict_on_another_bundle_is_refused_whoever_signs_it(place: Place) -> None:
    judged = verdict.load(settings().store_url, place.digest, place.baseline)
    assert judged
    place.sign(Statement(Subject(SUMS, place.baseline), VERDICT, judged.model_dump(mode="json")))
    place.release(champion=place.baseline)
    with refused(f"what is attested of {place.baseline[:12]} is the verdict on {place.digest[:12]}"):
        verify("staging")


@pytest.mark.parametrize("answer", ["fail", "inconclusive"])
def test_who_did_not_pass_answers_nobody_but_may_be_a_shadow(place: Place, answer: Any) -> None:
    failing(place, answer)
    place.release(champion=place.baseline)
    with refused(f"{place.baseline[:12]} would answer, and its attested verdict is {answer}"):
        verify("staging")
    place.release(experiment=trying("canary", place.baseline))
    with refused("would answer"):
        verify("staging")
    place.release(experiment=trying("shadow", place.baseline))
    assert verify("staging").experiment


def test_a_verdict_that_calls_itself_a_pass_although_a_check_failed_is_none(place: Place) -> None:
    failing(place, "fail", calls_itself="pass")
    place.release(champion=place.baseline)
    with refused("its attested verdict is fail"):
        verify("staging")


def test_a_shadow_has_to_be_attested_and_a_holdout_is_the_champions_own_baseline(place: Place) -> None:
    place.release(experiment=trying("shadow", place.baseline))
    with refused(f"{place.baseline[:12]} is not attested"):
        verify("staging")
    place.release(experiment=trying("holdout", place.baseline))
    assert verify("staging").experiment


def test_what_lies_behind_a_url_answers_nobody(place: Place) -> None:
    place.release(experiment=trying("canary", "http://elsewhere:3000"))
    with refused("http://elsewhere:3000 would answer, which nobody can prove"):
        verify("staging")
    place.release(experiment=trying("shadow", "http://elsewhere:3000"))
    assert verify("staging").experiment


def test_an_image_has_to_be_attested_by_its_digest(place: Place) -> None:
    place.release(images={"serving": IMAGE})
    with refused(r"churn-serving e{12} is not attested"):
        verify("staging")
    attest.attest_image(IMAGE)
    assert verify("staging").images == {"serving": IMAGE}
    with refused("is no image by digest"):
        attest.attest_image("churn-serving:latest")


def test_a_verdict_stands_for_no_image_and_an_image_for_no_bundle(place: Place) -> None:
    place.sign(Statement(Subject("churn-serving", "e" * 64), VERDICT, {}))
    place.release(images={"serving": IMAGE})
    with refused(f"is attested as {VERDICT} alone, not as {PROVENANCE}"):
        verify("staging")


def test_a_bundle_that_was_never_judged_is_not_attested(place: Place) -> None:
    with refused(f"{place.baseline[:12]} was never judged in laptop. Run `ml gate --challenger {place.baseline[:12]}`"):
        attest.attest(place.baseline, None)


def test_who_is_not_attested_is_told_the_words_by_which_it_is(place: Place) -> None:
    place.attested.unlink()
    short = place.digest[:12]
    said = one_line(ml("verify", "staging"))
    assert f"bundle {short} is not attested. Run `ml attest {short} --environment staging`" in said
    said = one_line(ml("attest", short, "--environment", "staging"))
    assert f"{short} was never judged in staging. Run `ml attest {short} --environment laptop`" in said
    with configured(ML_RELEASE_ENVIRONMENT="staging"):
        assert ml("attest", short, "--environment", "laptop").returncode == 0
    assert verify("staging").champion == place.digest
    place.release(images={"serving": IMAGE})
    with refused(f"Run `ml attest --image {IMAGE}`"):
        verify("staging")


def test_another_private_key_than_the_repositorys_signs_nothing(place: Place) -> None:
    settings().signing_key.unlink()
    new_key(settings().signing_key, place.folder / "other.pem")
    with refused("is not the key of"):
        attest.attest(place.digest, None)


def test_what_a_workflow_signs_is_a_file_of_exactly_the_bundles_digest(place: Place) -> None:
    attest.attest(place.digest, place.folder / "statement")
    written = place.folder / "statement"
    assert hashlib.sha256((written / SUMS).read_bytes()).hexdigest() == place.digest
    assert json.loads((written / PREDICATE).read_bytes())["answer"] == "pass"


@pytest.mark.parametrize("by", ["key", "github"])
def test_the_verdict_that_a_promotion_relies_on_is_attested_before_anything_moves(
    by: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.attested.unlink()
    contract = release.file("staging")
    contract.unlink()
    (place.folder / "store" / "verdicts" / "laptop").rename(place.folder / "store" / "verdicts" / "staging")
    bundles.name_newest(settings().store_url, place.digest)
    monkeypatch.setenv("GITHUB_OUTPUT", str(place.folder / "output"))
    evidence = place.folder / "evidence"
    with configured(ML_RELEASE_ENVIRONMENT="staging", ML_SIGNING_BY=by):
        assert promote(None, {}, True, evidence) == 0
        assert not contract.exists()
        assert (place.folder / "output").read_text() == f"by={by}\n"
        assert hashlib.sha256((evidence / SUMS).read_bytes()).hexdigest() == place.digest
        assert json.loads((evidence / PREDICATE).read_bytes())["answer"] == "pass"
        assert {file.name for file in evidence.glob("*.html")} == {"gate.html", "model_card.html"}
        if by == "key":
            assert promote(None, {}, False) == 0
            assert verify("staging").champion == place.digest
            contract.unlink()
            settings().signing_key.unlink()
            with refused("nothing can be signed"):
                promote(None, {}, False, evidence)


@pytest.fixture
def gh(place: Place, stand_ins: StandIns, monkeypatch: pytest.MonkeyPatch) -> StandIns:  # noqa: F811
    """GitHub's tool, which finds the verdict attested by a workflow, as [signing] by = github wants it."""
    told = json.loads(base64.b64decode(json.loads(place.attested.read_bytes())["payload"]))
    shutil.rmtree(place.folder / "store" / "attestations")
    stand_ins.put("gh", ("", json.dumps([{"verificationResult": {"statement": told}}]), 0))
    monkeypatch.setenv("GITHUB_REPOSITORY", "team/churn")
    monkeypatch.setenv("ML_SIGNING_BY", "github")
    settings.cache_clear()
    return stand_ins


def words(gh: StandIns) -> dict[str, str]:
    """Return the options of the last call of gh, by name, and what was proved as `verify`."""
    said = gh.calls[-1].words
    assert said[:2] == ["attestation", "verify"]
    return {"verify": said[2], **dict(zip(said[3::2], said[4::2], strict=True))}


def signers(workflows: str) -> str:
    return rf"^https://github\.com/team/churn/\.github/workflows/{workflows}\.yml@refs/heads/main$"


def test_by_github_a_bundle_is_proved_by_the_workflows_that_judge_on_main(place: Place, gh: StandIns) -> None:
    assert verify("staging").champion == place.digest
    asked = words(gh)
    assert Path(asked.pop("verify")).name == SUMS
    assert asked == {
        "--repo": "team/churn",
        "--predicate-type": VERDICT,
        "--cert-identity-regex": signers("(train|promote)"),
        "--source-ref": "refs/heads/main",
        "--format": "json",
    }


def test_by_github_an_image_is_proved_at_its_registry_by_the_workflow_that_builds(place: Place, gh: StandIns) -> None:
    place.release(images={"serving": IMAGE})
    verify("staging")
    asked = words(gh)
    assert asked["verify"] == f"oci://{IMAGE}"
    assert asked["--cert-identity-regex"] == signers("image")
    assert asked["--predicate-type"] == PROVENANCE


def test_by_github_what_was_downloaded_is_proved_offline(place: Place, gh: StandIns) -> None:
    kept = place.folder / "store" / "attestations" / place.digest / f"sha256:{place.digest}.jsonl"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    (place.folder / "environments" / "trusted_root.jsonl").write_text("{}")
    verify("staging")
    asked = words(gh)
    assert asked["--bundle"].endswith(".jsonl")
    assert asked["--custom-trusted-root"] == str(place.folder / "environments" / "trusted_root.jsonl")


def test_by_github_what_no_workflow_stands_behind_is_refused(place: Place, gh: StandIns) -> None:
    gh.put("gh", ("", "", 1))
    with refused(f"no workflow on refs/heads/main stands behind bundle {place.digest[:12]}"):
        verify("staging")


def test_by_github_nothing_is_signed_here_and_the_next_step_is_told_so(
    place: Place, gh: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", str(place.folder / "output"))
    attest.attest(place.digest, place.folder / "statement")
    attest.attest_image(IMAGE)
    assert (place.folder / "output").read_text() == "by=github\n" * 2
    assert not (place.folder / "store" / "attestations").exists()
    assert (place.folder / "statement" / SUMS).exists()


def test_the_verbs_make_a_key_sign_and_prove(bundle: tuple[str, str], tmp_path: Path) -> None:
    copy_of_bundle(bundle, tmp_path / "store")
    ours = {"ML_STORE_URL": tmp_path / "store", "ML_RELEASE_FOLDER": tmp_path / "environments"}
    ours |= {"ML_SERVE_SECRETS": tmp_path / "secrets"}
    with configured(**ours):
        release.write(Release(champion=bundle[1]))
    assert "is not there: no signature can be proved" in one_line(ml("verify", **ours))
    said = [ml(*verb, **ours).stdout for verb in (("attest", "--new-key"), ("attest", bundle[1][:9]), ("verify",))]
    assert ["signing.pem" in said[0], "pass" in said[1], "bundles (1)" in said[2]] == [True] * 3


def failing(place: Place, answer: Any, calls_itself: str = "") -> None:
    """Attest of the baseline that the gate said this of it."""
    judged = verdict.load(settings().store_url, place.digest, place.baseline)
    assert judged
    told = judged.model_dump(mode="json")
    told["challenger"]["bundle"] = place.baseline
    told["checks"][0] |= {"answer": answer, "waiver": None}
    told["answer"] = calls_itself or answer
    place.sign(Statement(Subject(SUMS, place.baseline), VERDICT, told))
