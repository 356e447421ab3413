"""From a pull request to production and back, by the workflows themselves, run on this machine by act.

train.yml trains the first model. The others are made of its bytes, so that each is as good or as bad as it has to be.
What it takes from a merge until a release is deployed, and from a breach until the last one answers again, is printed.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from datetime import date

import httpx
import pandas as pd
import pytest
from conftest import bearer, configured
from delivery_flow import Flow, begun
from github_api import github
from moved_bundles import moved, pass_anyway
from traffic import asked

from ml.attestation import attest
from ml.attestation.signing import new_key
from ml.contract import bundle as bundles
from ml.contract import release as contract
from ml.contract import secrets
from ml.contract.clock import Clock
from ml.contract.framing import framing
from ml.contract.release import Arm, Experiment, Release
from ml.delivery import deploy, deployments
from ml.delivery.deployments import Deployment
from ml.experiment.experiment import experiment
from ml.features.rows import records_of
from ml.features.table import json_of_frame
from ml.gate.gate import gate
from ml.labelling.label import label
from ml.serving.server import free_port
from ml.statistics.inference import Answer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
STAGES = ("staging", "production")
EVIDENCE = {"verdict.json", "gate.html", "model_card.md"}


class World:
    """The project on its GitHub, and those who ask its services."""

    def __init__(self, flow: Flow, lake: str) -> None:
        self.flow, self.lake = flow, lake
        mixed = json_of_frame(records_of(lake, [date(2013, 4, 1)]).sample(frac=1, random_state=0))
        self.some = [mixed[start : start + 20] for start in range(0, len(mixed), 20)]

    def train(self) -> str:
        """Let train.yml train, judge, attest and propose a model: the first one."""
        ran = self.flow.train()
        assert ran.returncode == 0, ran.stdout
        assert {file.name for file in (self.flow.runs.artifacts / "evidence").rglob("*.*")} >= EVIDENCE
        self.first = bundles.newest(str(self.flow.store))
        return self.first

    def make(self, by: float, times: float = 1.0) -> str:
        """Register a bundle that scores `times` as the first does, and `by` more: the newest from now on."""
        return moved(str(self.flow.store), self.first, by, times)

    def make_good(self, by: float) -> str:
        """Make a bundle that the gate lets pass, and attest it, as train.yml does."""
        digest = self.make(by)
        with self.flow.at("staging"):
            assert gate(self.lake, str(self.flow.store), self.first, digest).answer == "pass"
            attest.attest(digest, None)
        return digest

    def promote(self, environment: str) -> Release:
        """Let promote.yml propose the next step of an environment, merge it, and let deploy.yml bring it there."""
        ran = self.flow.promote(environment)
        assert f"proposed for {environment}: " in ran.stdout, ran.stdout
        return self.merge_and_deploy(environment)

    def merge_and_deploy(self, environment: str) -> Release:
        """Merge what is proposed for an environment, and let deploy.yml bring it there while people ask."""
        pull, began = self.flow.proposed(environment), Clock("wall").now()
        before = self.flow.merge(pull)
        with self._asked(environment) as asking:
            ran = self.flow.deploy(before, environment)
        assert ran.returncode == 0, ran.stdout
        last = self.deployed(environment)[-1]
        assert (last.outcome, last.revision) == ("good", self.flow.runs.hub.main)
        assert set(asking) <= {200}, "no request is lost"
        print(f"{pull['title']}: {(last.at - began).total_seconds():.0f} s from merge to deployed")
        return self.released(environment)

    def _asked(self, environment: str) -> AbstractContextManager[list[object]]:
        """Let people ask an environment, if it answers already."""
        return asked(self.flow.url(environment), self.some, 0.1) if self.deployed(environment) else nullcontext([])

    def breach(self, environment: str, harm: Release) -> Deployment:
        """Let deploy.yml bring a release that does harm, and return what the ledger says of it."""
        before, began = self.commit(**{environment: harm}), Clock("wall").now()
        with self._asked(environment) as asking:
            ran = self.flow.deploy(before, environment)
        assert ran.returncode == 1, ran.stdout
        assert "exit status 10" in ran.stdout, ran.stdout
        assert set(asking) == {200}, "no request is lost"
        last = self.deployed(environment)[-1]
        assert (last.outcome, last.release) == ("breach", harm)
        print(f"{environment}: {(last.at - began).total_seconds():.0f} s from merge to rolled back; {last.said}")
        return last

    def sign(self, digest: str) -> None:
        """Let somebody who has the key attest of a bundle that the gate let it pass."""
        with self.flow.at("staging"):
            pass_anyway(digest, self.first)

    def sign_by_another_key(self, digest: str) -> None:
        """Let somebody attest of a bundle that the gate let it pass, with a key that nobody trusts."""
        key, public = (self.flow.runs.home / f"another{end}" for end in ("-key", ".pem"))
        new_key(key, public)
        with self.flow.at("staging"), configured(ML_SIGNING_KEY=key, ML_SIGNING_PUBLIC_KEY=public):
            pass_anyway(digest, self.first)

    def commit(self, **releases: Release) -> str:
        """Let a person release by hand what no promotion has proposed; returns the commit before."""
        files = {f"environments/{stage}/release.yaml": contract.text(told) for stage, told in releases.items()}
        return self.flow.commit("Know better", files)

    def deployed(self, environment: str) -> list[Deployment]:
        """Return what the ledger says of an environment."""
        with self.flow.at(environment):
            return deployments.history(environment)

    def down(self, environment: str) -> None:
        """End all that runs of an environment."""
        with self.flow.at(environment):
            deploy.down(environment)

    def released(self, environment: str) -> Release:
        """Return what main says that an environment runs, by which plan its services do answer."""
        told = Release.model_validate(self.flow.release(environment))
        replicas = httpx.get(f"{self.flow.url(environment)}/readyz").json()["replicas"]
        assert [httpx.get(f"{url}/readyz").json()["plan"] for url, _ in replicas] == [told.plan] * 2
        return told

    def ask_until_decided(self, environment: str) -> Answer:
        """Send requests and what came of them, fortnight after fortnight, until the experiment that runs is decided."""
        with self.flow.at(environment):
            for since in pd.date_range("2013-04-01", periods=4, freq="14D"):
                self._ask(environment, records_of(self.lake, pd.date_range(since, periods=14).date.tolist()))
                label()
                if (answer := experiment().verdict) != "inconclusive":
                    break
        return answer

    def _ask(self, environment: str, records: pd.DataFrame, size: int = 100) -> None:
        positive, sent = (records[framing().task.positive] == 1).tolist(), json_of_frame(records)
        with httpx.Client(headers=bearer(), timeout=60) as client:
            for start in range(0, len(sent), size):
                part = slice(start, start + size)
                answers = client.post(f"{self.flow.url(environment)}/predict", json=sent[part])
                ids = [each["request_id"] for each in answers.raise_for_status().json()]
                told = [{"request_id": id_, "outcome": each} for id_, each in zip(ids, positive[part], strict=True)]
                client.post(f"{self.flow.outcomes(environment)}/outcomes", json=told).raise_for_status()


@pytest.fixture(scope="module")
def world(lake: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A fresh project with a key, on a GitHub of our own; nothing is deployed yet, and nothing is left afterwards."""
    home = tmp_path_factory.mktemp("world")
    settings = {"ML_DATA_URL": lake, "ML_SERVE_SECRETS": home / "secrets", "ML_EVENTS_SPOOL": home / "spool"}
    settings |= {"ML_PROMOTION_CANARY": "[50]", "ML_DEPLOY_TARGET": "processes", "ML_DEPLOY_BAKE_MINUTES": 0.05}
    settings |= {"ML_DEPLOY_LATENCY_P99_MS": 5000}
    with github(home / "hub.git") as hub:
        ports = {stage: (free_port(), free_port()) for stage in STAGES}
        flow = begun(hub, home, settings, ports)
        with flow.at("staging"):
            secrets.token(secrets.LAPTOP)
        world = World(flow, lake)
        with ExitStack() as left:
            for stage in STAGES:
                left.callback(world.down, stage)
            yield world


def test_a_model_goes_to_production_and_a_bad_one_is_stopped_at_each_gate(world: World) -> None:
    hub = world.flow.runs.hub

    # a person starts the training, and the first model answers in staging
    first = world.train()
    assert "```mermaid" in world.flow.proposed("staging")["body"]
    assert world.merge_and_deploy("staging") == Release(champion=first)

    # a second one is shown requests there, answers some, then all
    second = world.make_good(by=1e-6)
    for mode in ("shadow", "canary"):
        trying = world.promote("staging").experiment
        assert trying
        assert (trying.mode, trying.arms["challenger"].bundle) == (mode, second)
        assert world.ask_until_decided("staging") == "pass"
    assert world.promote("staging") == Release(champion=second)

    # a bad one is stopped by the gate: one promote.yml proposes the second for production, and nothing for staging
    bad = world.make(by=0.5, times=0.5)
    ran = world.flow.promote_daily()
    assert ran.returncode == 0, ran.stdout
    assert f"staging stays as it is: the verdict on {bad[:12]} against {second[:12]} is fail" in ran.stdout
    assert [pull["head"] for pull in hub.open()] == ["promote/production"]
    good = world.merge_and_deploy("production")
    assert good == Release(champion=second)

    # who commits it nevertheless is stopped by `ml verify`: nobody has attested it, or nobody whom we trust
    worse = world.make(by=0.6, times=0.4)
    world.sign_by_another_key(worse)
    before = {stage: world.deployed(stage) for stage in STAGES}
    ran = world.flow.deploy(world.commit(staging=Release(champion=bad), production=Release(champion=worse)), "staging")
    assert ran.returncode == 1, ran.stdout
    assert f"{bad[:12]} is not attested" in ran.stdout
    assert f"{worse[:12]} is attested by another key" in ran.stdout
    assert {stage: world.deployed(stage) for stage in STAGES} == before
    world.commit(staging=good, production=good)
    assert (world.released("staging"), world.released("production")) == (good, good)

    # and what is signed as it should be, and is bad, is stopped by the bake: it is taken back before anybody is asked
    world.sign(bad)
    arms = {"challenger": Arm(bundle=bad, percent=100)}
    harm = Release(champion=second, experiment=Experiment(name="a-canary", mode="canary", arms=arms))
    breach = world.breach("production", harm)
    assert f"of the scores of bundle {bad[:12]} are " in breach.said
    assert world.released("production") == good
    (pull,) = hub.find("closed", "revert/production")
    assert pull["merged"]
    (issue,) = hub.issues.values()
    assert issue["title"] == f"production: plan {harm.plan} was taken back"
    assert breach.said in issue["body"]
