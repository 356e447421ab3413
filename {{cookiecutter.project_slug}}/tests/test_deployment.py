"""A release is brought to real services behind a balancer, watched and taken back; no request is lost meanwhile."""

import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import bearer, configured, copy_of_bundle, ml, one_line
from moved_bundles import moved, pass_anyway
from traffic import asked

from ml import processes
from ml.attestation import attest
from ml.attestation.signing import new_key
from ml.contract import bundle as bundles
from ml.contract import release
from ml.contract.release import Arm, Experiment, Release
from ml.delivery import deploy, deployments
from ml.errors import ContractError
from ml.promotion import change
from ml.serving.server import free_port
from ml.settings import settings
from ml.store import files

pytestmark = pytest.mark.slow
Proposed = list[tuple[str, bytes, bool]]


class Staging:
    """An environment on this machine: three bundles that may be released, and one whose scores are none.

    It starts with two of them, and the tests take it from there, in their order: to start services takes seconds.
    """

    def __init__(self, store: Path, digest: str) -> None:
        self.store, self.digest = store, digest
        self.other, self.new = (moved(str(store), digest, by) for by in (0.0001, 0.0002))
        self.absurd = moved(str(store), digest, 1.0)
        serve = settings().serve
        self.url, self.outcomes = (f"http://127.0.0.1:{port}" for port in (serve.port, serve.outcomes_port))

    def deploy(self, champion: str, experiment: Experiment | None = None) -> Release:
        """Release something and deploy it as it should be."""
        named = Release(champion=champion, experiment=experiment)
        release.write(named, "staging")
        assert deploy.deploy("staging")
        assert self.plans() == {named.plan}
        return named

    def plans(self) -> set[str]:
        """Return by which plans the replicas behind the balancer go."""
        return {httpx.get(f"{url}/readyz").json()["plan"] for url, _ in self.replicas()}

    def replicas(self) -> list[list[str]]:
        """Return whom the balancer leads to."""
        return list(httpx.get(f"{self.url}/readyz").json()["replicas"])

    def record(self) -> Any:
        """Return a record that can be asked."""
        return bundles.load(str(self.store), self.digest).golden[0]["record"]

    def asked(self) -> AbstractContextManager[list[object]]:
        """Ask all the time; yields what came back."""
        return asked(self.url, [self.record()])


@pytest.fixture(scope="module")
def staging(bundle: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staging]:
    """The environment with its first release, deployed; nothing of it is left afterwards."""
    store = tmp_path_factory.mktemp("deployed")
    copy_of_bundle(bundle, store)
    ours = {"ML_STORE_URL": store, "ML_RELEASE_FOLDER": store / "environments", "ML_SERVE_SECRETS": store / "secrets"}
    ours |= {"ML_DEPLOY_TARGET": "processes", "ML_DEPLOY_BAKE_MINUTES": 0.02, "ML_DEPLOY_LATENCY_P99_MS": 5000}
    ours |= {"ML_SERVE_PORT": free_port(), "ML_SERVE_OUTCOMES_PORT": free_port()}
    with configured(**ours):
        found = Staging(store, bundle[1])
        new_key(settings().signing_key, settings().public_key)
        attest.attest(bundle[1], None)
        for each in (found.other, found.new, found.absurd):
            pass_anyway(each, bundle[1])
        trying = Experiment(name="a-shadow", mode="shadow", arms={"challenger": Arm(bundle=found.other, percent=100)})
        try:
            found.deploy(bundle[1], trying)
            yield found
        finally:
            deploy.down("staging")


@pytest.fixture
def proposed(monkeypatch: pytest.MonkeyPatch) -> Proposed:
    """What was proposed: branch, content of the file, and whether it is to be merged at once."""
    found: Proposed = []

    def propose(branch: str, paths: list[Path], title: str, body: str, *, merge: bool) -> str:
        found.append((branch, paths[0].read_bytes(), merge))
        return branch

    monkeypatch.setattr(change, "propose", propose)
    return found


def test_a_change_of_plan_alone_starts_no_service_and_loses_no_request(staging: Staging) -> None:
    before = staging.replicas()
    with staging.asked() as came:
        staging.deploy(staging.other)
        staging.deploy(staging.digest)
    assert staging.replicas() == before
    assert set(came) == {200}


def test_a_roll_to_another_bundle_under_load_loses_no_request(staging: Staging) -> None:
    before = staging.replicas()
    with staging.asked() as came:
        time.sleep(0.5)
        told = staging.deploy(staging.new)
    assert len(came) > 50
    assert set(came) == {200}
    assert not {url for url, _ in before} & {url for url, _ in staging.replicas()}
    assert httpx.post(f"{staging.url}/predict", json=staging.record()).json()["bundle"] == told.champion


def test_outcomes_go_through_the_balancer_too(staging: Staging) -> None:
    id_ = httpx.post(f"{staging.url}/predict", json=staging.record()).json()["request_id"]
    told = [{"request_id": id_, "outcome": True}]
    assert httpx.post(f"{staging.outcomes}/outcomes", json=told).status_code == 401
    answer = httpx.post(f"{staging.outcomes}/outcomes", json=told, headers=bearer())
    assert (answer.status_code, answer.json()) == (200, {"accepted": 1})


def test_an_arm_that_fails_is_taken_back_at_once_remembered_and_proposed(
    staging: Staging, proposed: Proposed, capsys: pytest.CaptureFixture[str]
) -> None:
    good = staging.deploy(staging.new)
    arms = {"challenger": Arm(bundle=staging.absurd, percent=100)}
    bad = Release(champion=staging.new, experiment=Experiment(name="a-canary", mode="canary", arms=arms))
    release.write(bad, "staging")
    file = release.file("staging")
    content = file.read_bytes()
    with staging.asked() as came:
        assert not deploy.deploy("staging")
    assert set(came) == {200}, "the champion answers for an arm that fails"
    assert staging.plans() == {good.plan}
    found = deployments.history("staging")[-1]
    assert (found.outcome, found.release) == ("breach", bad)
    assert "of the answers failed, where 1.0% may" in found.said
    assert f"plan {good.plan}, champion {good.champion[:12]}, answers again, " in capsys.readouterr().out
    ((branch, proposal, merge),) = proposed
    assert (branch, merge) == ("revert/staging", True)
    assert release.parse(proposal, "proposed") == good
    assert file.read_bytes() == content, "the tree is changed by the merge alone"
    last = deployments.last("staging")
    assert last
    assert last.release == good


def test_a_replica_that_dies_is_a_breach_and_others_answer_again(staging: Staging, proposed: Proposed) -> None:
    staging.deploy(staging.new)
    (folder,) = (staging.store / "processes" / "staging").glob("*/generation.json")
    pids = [each["process"]["pid"] for each in json.loads(folder.read_bytes())["replicas"]]

    def kill() -> None:
        time.sleep(1.5)
        processes.end(pids[0])

    killing = threading.Thread(target=kill)
    killing.start()
    with configured(ML_DEPLOY_BAKE_MINUTES=0.2):
        assert not deploy.deploy("staging")
    killing.join()
    assert "tells nothing: it has ended, or cannot be reached" in deployments.history("staging")[-1].said
    assert len(staging.replicas()) == 2
    assert proposed == [], "the release file says already what was good"


def test_a_release_that_does_not_come_to_serve_leaves_what_answers(staging: Staging) -> None:
    good = staging.deploy(staging.new)
    core = dict(bundles.proved(str(staging.store), staging.digest))
    golden = [{**each, "score": 0.5} for each in json.loads(core["golden.json"])]
    broken = bundles.save(str(staging.store), core | {"golden.json": bundles.dump(golden)}, {})
    pass_anyway(broken, staging.digest)
    release.write(Release(champion=broken), "staging")
    before = staging.replicas()
    with staging.asked() as came, pytest.raises(ContractError, match="not every service came to answer"):
        deploy.deploy("staging")
    assert set(came) == {200}
    assert (staging.replicas(), staging.plans()) == (before, {good.plan})
    assert deployments.history("staging")[-1].outcome == "failed"


def test_what_is_not_proved_is_not_deployed(staging: Staging) -> None:
    baseline = bundles.load(str(staging.store), staging.digest).baseline
    before, known = staging.replicas(), deployments.history("staging")
    release.write(Release(champion=baseline), "staging")
    assert f"{baseline[:12]} is not attested" in one_line(ml("deploy", "staging"))
    assert (staging.replicas(), deployments.history("staging")) == (before, known)


def test_one_deployment_at_a_time(staging: Staging) -> None:
    release.write(Release(champion=staging.new), "staging")
    folder = staging.store / "processes" / "staging"
    with files.alone(folder, "deployment"):
        assert "another deployment is running" in one_line(ml("deploy", "staging"))


def test_down_ends_every_process_and_no_other(staging: Staging) -> None:
    staging.deploy(staging.new)
    folder = staging.store / "processes" / "staging"
    (generation,) = folder.glob("*/generation.json")
    started = [each["process"]["pid"] for each in json.loads(generation.read_bytes())["replicas"]]
    started += [json.loads((folder / "balancer.json").read_bytes())["pid"]]
    trees = list(itertools.chain(*map(processes.tree, started)))
    strange = {"pid": os.getpid(), "began": "1"}  # a number that was given again
    (folder / "9").mkdir()
    replica = {"process": strange, "url": "http://127.0.0.1:1", "outcomes": "http://127.0.0.1:1"}
    left = {"folder": str(folder / "9"), "bundles": [], "revision": None, "replicas": [replica]}
    (folder / "9" / "generation.json").write_text(json.dumps(left))
    deploy.down("staging")
    assert [each for each in trees if processes.began(each)] == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "else this test would not know"
    assert list(folder.glob("*/generation.json")) == []
