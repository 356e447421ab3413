"""A cluster as the target of a deployment: what is run, in which order, and what is made of answers and failures.

The tools are stand-ins that note how they were called; that a cluster comes of it, only a cluster proves.
"""

import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import configured, copy_of_bundle, ml
from github_api import git
from stand_ins import StandIns, stand_ins  # noqa: F401

from ml.attestation import attest
from ml.attestation.signing import new_key
from ml.contract import release
from ml.contract.release import Release
from ml.delivery import deploy, deployments
from ml.errors import ContractError
from ml.promotion import change
from ml.settings import settings

IMAGE = f"registry.example.org/churn-serving@sha256:{'d' * 64}"
OTHER = f"registry.example.org/churn-serving@sha256:{'e' * 64}"
PODS, METRICS = ("get pods", "churn-1 churn-2", 0), ("get --raw", "ml_prediction_seconds_count 0", 0)
GOOD = [{"revision": 7, "updated": "2026-11-21T12:00:00Z"}]
LATER = [*GOOD, {"revision": 8, "updated": "2026-11-21T13:00:00Z"}]


@pytest.fixture
def tools(bundle: tuple[str, str], tmp_path: Path, stand_ins: StandIns) -> Iterator[StandIns]:  # noqa: F811
    """A cluster on which pods answer, and a release of staging whose bundle and images are attested."""
    stand_ins.put("helm")
    stand_ins.put("kubectl", PODS, METRICS)
    copy_of_bundle(bundle, tmp_path / "store")
    ours = {"ML_STORE_URL": tmp_path / "store", "ML_RELEASE_FOLDER": tmp_path / "environments"}
    ours |= {"ML_SERVE_SECRETS": tmp_path / "secrets", "ML_PROJECT_SLUG": "churn", "ML_DEPLOY_BAKE_MINUTES": 0.02}
    with configured(**ours):
        new_key(settings().signing_key, settings().public_key)
        attest.attest(bundle[1], None)
        for image in (IMAGE, OTHER):
            attest.attest_image(image)
        released(bundle, IMAGE)
        (tmp_path / "environments" / "staging" / "values.yaml").write_text("store: {url: s3://models/churn}\n")
        yield stand_ins


def released(bundle: tuple[str, str], image: str) -> Release:
    told = Release(champion=bundle[1], images={"serving": image})
    release.write(told, "staging")
    return told


def upgrades(tools: StandIns) -> list[str]:
    return [str(call) for call in tools.calls if "upgrade" in call.words]


def remembers(*told: object) -> tuple[str, str, int]:
    """Return what helm answers who asks which revisions there are."""
    return "history churn --output json", json.dumps(told), 0


def test_a_release_is_installed_by_digest_waited_for_asked_within_and_watched(tools: StandIns, tmp_path: Path) -> None:
    assert deploy.deploy("staging")
    (upgrade,) = upgrades(tools)
    assert upgrade.startswith("helm --namespace churn-staging upgrade --install churn ")
    assert f"--set-string images.serving={IMAGE} " in upgrade
    assert f"--values {tmp_path / 'environments' / 'staging' / 'values.yaml'} --set-file release=" in upgrade
    assert "--atomic --set-string environment=staging --wait --timeout " in upgrade
    steps = [" ".join(call.words[2:4]) for call in tools.calls]
    asked = ["get pods", "get --raw", "get --raw"]
    assert steps[:7] == ["upgrade --install", "rollout status", "history churn", "test churn", *asked]
    assert "/api/v1/namespaces/churn-staging/pods/churn-2:3000/proxy/metrics" in str(tools.calls[6])
    (found,) = deployments.history("staging")
    assert found.outcome == "good"
    assert found.said == "nobody asked while it was watched, so that nothing could speak against it"


def test_context_and_namespace_are_those_that_are_named(tools: StandIns) -> None:
    with configured(ML_DEPLOY_CONTEXT="far", ML_DEPLOY_NAMESPACE="team", ML_DEPLOY_BAKE_MINUTES=0):
        assert deploy.deploy("staging")
    assert upgrades(tools)[0].startswith("helm --kube-context far --namespace team upgrade")
    assert str(tools.calls[1]).startswith("kubectl --context far --namespace team rollout status")


def test_what_does_not_come_up_is_rolled_back_by_helm_and_remembered_as_failed(tools: StandIns) -> None:
    tools.put("helm", ("upgrade", "", 1))
    with pytest.raises(ContractError, match="upgrade --install churn"):
        deploy.deploy("staging")
    assert [call.words[2] for call in tools.calls if call.tool == "kubectl"] == ["get", "get", "logs"]
    assert [each.outcome for each in deployments.history("staging")] == ["failed"]
    assert deployments.last("staging") is None


@pytest.mark.parametrize(
    ("tool", "answers", "said"),
    [
        ("kubectl", (PODS, ("get --raw", "", 1)), "churn-1 tells nothing"),
        ("kubectl", (("get pods", "", 0),), "no replica is there"),
        ("helm", (("^--namespace churn-staging test", "", 1),), "test churn` ended with exit code 1"),
    ],
)
def test_pods_that_are_silent_and_answers_that_are_wrong_bring_the_last_image_back(
    tools: StandIns,
    bundle: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tool: str,
    answers: tuple[tuple[str, str, int], ...],
    said: str,
) -> None:
    proposed: list[str] = []
    monkeypatch.setattr(change, "propose", lambda branch, *_, merge: proposed.append(f"{branch} {merge}"))
    assert deploy.deploy("staging")
    released(bundle, OTHER)
    tools.put(tool, *answers)
    with configured(ML_DEPLOY_BREACH="rollback"):
        assert not deploy.deploy("staging")
        assert not deploy.deploy("staging", again=True)
    assert [IMAGE in each for each in upgrades(tools)] == [True, False, True, False, True]
    assert said in deployments.history("staging")[-1].said
    assert proposed == ["revert/staging False"] * 2
    assert any("logs churn-smoke" in str(call) for call in tools.calls) == (tool == "helm"), "why it failed is shown"


def test_what_values_have_done_is_undone_by_helm_and_proposed(
    tools: StandIns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposed: list[bytes] = []
    monkeypatch.setattr(
        change, "propose", lambda _branch, paths, *_, merge: proposed.extend(each.read_bytes() for each in paths)
    )
    environments, release_file = tmp_path / "environments", release.file("staging")
    values = release_file.with_name("values.yaml")
    good, written = values.read_bytes(), release_file.read_bytes()
    git(tmp_path, "init", "--quiet", str(environments))
    git(environments, "add", "--all")
    git(environments, "commit", "--quiet", "--message", "Release")
    monkeypatch.setattr(deployments, "commit", lambda: git(environments, "rev-parse", "HEAD") + "+changes")
    tools.put("helm", remembers(*GOOD))
    assert deploy.deploy("staging")
    values.write_text("store: {url: s3://models/nobody}\n")
    tools.put("helm", remembers(*LATER))
    tools.put("kubectl", PODS, ("get --raw", "", 1))
    tools.clear()
    assert not deploy.deploy("staging")
    assert len(upgrades(tools)) == 1
    (back,) = [str(call) for call in tools.calls if "rollback" in call.words]
    assert back == "helm --namespace churn-staging rollback churn 7 --wait --timeout 10m"
    after = [" ".join(call.words[2:4]) for call in tools.calls[[str(each) for each in tools.calls].index(back) :]]
    assert after == ["rollback churn", "rollout status", "test churn"]
    assert "answers again" in deployments.history("staging")[-1].said
    assert proposed == [written, good], "the release is what it was, and the values become so"
    assert values.read_bytes() != good, "the tree is changed by the merge alone"


def test_revisions_of_a_chart_that_was_uninstalled_since_are_not_gone_back_to(tools: StandIns) -> None:
    tools.put("helm", remembers(*GOOD))
    assert deploy.deploy("staging")
    tools.put("helm", remembers({"revision": 7, "updated": "2026-11-22T12:00:00Z"}))
    tools.put("kubectl", PODS, ("get --raw", "", 1))
    assert not deploy.deploy("staging")
    assert not [call for call in tools.calls if "rollback" in call.words]
    assert len(upgrades(tools)) == 3


def test_what_did_harm_is_not_deployed_once_more_unless_somebody_insists(
    tools: StandIns, bundle: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change, "propose", lambda branch, *_, merge: branch)
    assert deploy.deploy("staging")
    released(bundle, OTHER)
    tools.put("kubectl", PODS, ("get --raw", "", 1))
    assert not deploy.deploy("staging")
    tools.put("kubectl", PODS, METRICS)
    before, known = upgrades(tools), deployments.history("staging")
    with pytest.raises(ContractError, match=r"churn-1 tells nothing.* `ml release revert staging`.* --again`"):
        deploy.deploy("staging")
    assert (upgrades(tools), deployments.history("staging")) == (before, known)
    ran = ml("deploy", "staging", "--again")
    assert (ran.returncode, ran.stderr) == (0, "")
    tools.put("kubectl", PODS, ("get --raw", "", 1))
    assert not deploy.deploy("staging")
    tools.put("kubectl", PODS, METRICS)
    assert deploy.deploy("staging"), "it was good before: something else did the harm"


def test_other_values_may_be_tried_after_a_breach(
    tools: StandIns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools.put("kubectl", PODS, ("get --raw", "", 1))
    assert not deploy.deploy("staging")
    tools.put("kubectl", PODS, METRICS)
    with pytest.raises(ContractError, match="did harm"):
        deploy.deploy("staging")
    (tmp_path / "environments" / "staging" / "values.yaml").write_text("store: {url: s3://models/other}\n")
    assert deploy.deploy("staging")


@pytest.mark.parametrize(("during", "undone"), [("get --raw", True), ("upgrade --install", False)])
def test_who_breaks_a_deployment_off_leaves_what_was_good_and_a_record(
    tools: StandIns, bundle: tuple[str, str], during: str, undone: bool
) -> None:
    tools.put("helm", remembers(*GOOD))
    assert deploy.deploy("staging")
    released(bundle, OTHER)
    tools.clear()
    tools.put("helm", ("upgrade", "", 0, 0 if undone else 60), remembers(*LATER))

    def interrupt() -> None:
        while not any(during in str(call) for call in tools.calls):
            time.sleep(0.05)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    with configured(ML_DEPLOY_BAKE_MINUTES=1), pytest.raises(KeyboardInterrupt):
        deploy.deploy("staging")
    interrupting.join()
    found = deployments.history("staging")[-1]
    assert (found.outcome, dict(found.release.images)) == ("failed", {"serving": OTHER})
    assert found.said == ("not watched to the end: " if undone else "") + "interrupted"
    assert any("rollback churn 7" in str(call) for call in tools.calls) == undone


def test_a_first_release_that_fails_stays_for_people_to_decide(tools: StandIns) -> None:
    tools.put("kubectl", PODS, ("get --raw", "", 1))
    ran = ml("deploy", "staging")
    assert (ran.returncode, ran.stderr) == (10, "")
    assert "breach: churn-1 tells nothing" in ran.stdout
    assert len(upgrades(tools)) == 1
    assert "decide by hand" in deployments.history("staging")[-1].said


def test_an_environment_without_values_is_not_deployed(tools: StandIns, tmp_path: Path) -> None:
    (tmp_path / "environments" / "staging" / "values.yaml").unlink()
    with pytest.raises(ContractError, match=r"values\.yaml is not there"):
        deploy.deploy("staging")
    assert upgrades(tools) == []


def test_down_uninstalls_the_chart(tools: StandIns) -> None:
    deploy.down("staging")
    assert [str(call) for call in tools.calls] == ["helm --namespace churn-staging uninstall churn --wait"]
