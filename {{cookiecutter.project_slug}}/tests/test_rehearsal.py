"""What is rehearsed on a cluster, against a real service, Redis and object store; only kubectl and helm stand in.

So the replay, the monitor and the way back are real. That pods are replaced is not: docs/cluster.md has the commands.
"""

import base64
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import ROOT, configured, copy_of_bundle
from stand_ins import StandIns, stand_ins  # noqa: F401
from test_object_store import ADMIN, SECRET, Store, store  # noqa: F401
from test_online import Redis, server_of_redis  # noqa: F401

from ml.cluster.deploy import STORE, copy, stored
from ml.cluster.rehearse import drift, roll_back
from ml.cluster.target import Target
from ml.contract import bundle as bundles
from ml.contract import release
from ml.contract.release import Arm, Experiment, Release
from ml.errors import ContractError
from ml.serving.server import Service, free_port, running
from ml.settings import settings

pytestmark = pytest.mark.slow

TARGET = Target("kind-churn", "churn", "churn")
IMAGE = f"localhost:5001/churn-serving@sha256:{'d' * 64}"


@pytest.fixture
def released(
    bundle: tuple[str, str],
    lake: str,
    store: Store,  # noqa: F811
    server_of_redis: Redis,  # noqa: F811
    stand_ins: StandIns,  # noqa: F811
    tmp_path: Path,
) -> Iterator[StandIns]:
    """A release of the environment kind; the cluster's object store and online store are real ones of this machine."""
    copy_of_bundle(bundle, tmp_path / "store")
    shutil.copytree(ROOT / "environments" / "kind", tmp_path / "environments" / "kind")
    stand_ins.put("helm")
    keys = {"AWS_ACCESS_KEY_ID": ADMIN, "AWS_SECRET_ACCESS_KEY": SECRET}
    secret = {"data": {name: base64.b64encode(value.encode()).decode() for name, value in keys.items()}}
    stand_ins.put("kubectl", *ways(server_of_redis, store), ("get secret", json.dumps(secret), 0))
    with configured(
        ML_STORE_URL=tmp_path / "store",
        ML_RELEASE_FOLDER=tmp_path / "environments",
        ML_RELEASE_ENVIRONMENT="kind",
        ML_DATA_URL=lake,
    ):
        release.write(Release(champion=bundle[1]))
        yield stand_ins


def ways(redis: Redis, store: Store, service: Service | None = None) -> list[tuple[str, str, int, int]]:  # noqa: F811
    """Return kubectl's answers: a way to each service, and two seconds in which a rollout is waited for."""
    places = {"platform-redis": f"127.0.0.1:{redis.port}", "platform-s3": store.endpoint}
    if service:
        places |= {"churn :3001": service.outcomes, "churn :80": service.url}
    opened = [(f"/{name}", f"Forwarding from {at.removeprefix('http://')} -> 1", 0, 600) for name, at in places.items()]
    return [*opened, ("rollout status", "", 0, 2)]


@contextmanager
def serving(tools: StandIns, redis: Redis, store: Store, clock: str, log: Path) -> Iterator[None]:  # noqa: F811
    """Run the service as its pods would, with the online store and the object store of the cluster."""
    with (
        stored(TARGET),
        configured(ML_ONLINE_URL=redis.url, ML_EVENTS_URL=f"{STORE}/events"),
        running("127.0.0.1", free_port(), clock, log) as service,
    ):
        rules = json.loads((tools.folder / "kubectl.json").read_text())
        tools.put("kubectl", *ways(redis, store, service), *map(tuple, rules))
        yield


def test_a_summer_unlike_the_training_alarms_the_monitor_and_a_quiet_week_fails_the_rehearsal(
    released: StandIns,
    server_of_redis: Redis,  # noqa: F811
    store: Store,  # noqa: F811
    tmp_path: Path,
) -> None:
    with serving(released, server_of_redis, store, "simulated", tmp_path / "serve.log"):
        quiet = configured(ML_DEMO_REPLAYS=json.dumps([["2013-05-01", "2013-05-07"]]))
        with quiet, pytest.raises(ContractError, match="the monitor is quiet about 2013-05-01 to 2013-05-07"):
            drift(TARGET, IMAGE, "lite")
        drift(TARGET, IMAGE, "lite")
    installed = [str(call) for call in released.calls if call.tool == "helm"]
    simulated = "--set-string settings.ML_SERVE_CLOCK=simulated,testAt=2013-0"
    assert [simulated in each for each in installed] == [True, False] * 2
    assert list((tmp_path / "store" / "reports" / "kind").glob("*/monitor.html"))


def test_another_rung_answers_until_the_release_is_reverted(
    released: StandIns,
    server_of_redis: Redis,  # noqa: F811
    store: Store,  # noqa: F811
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    champion = release.read().champion
    other = next(digest for digest in bundles.ladder(settings().store_url, champion).values() if digest != champion)
    # A process goes over to bundles that it has loaded; pods that load others are a rolling update, which is not here.
    beside = Experiment(name="loaded", mode="shadow", arms={"other": Arm(bundle=other, percent=0)})
    release.write(Release(champion=champion, experiment=beside))
    before = settings().release_file.read_bytes()
    with serving(released, server_of_redis, store, "wall", tmp_path / "serve.log"):
        roll_back(TARGET, IMAGE, "lite")
    said = [
        line.partition("scores as bundle ")[2][:12] for line in capfd.readouterr().out.splitlines() if "smoke " in line
    ]
    assert said == [other[:12], champion[:12]]
    assert settings().release_file.read_bytes() == before


def test_a_bundle_is_the_same_in_the_clusters_store_and_an_altered_one_is_not_copied(
    released: StandIns, tmp_path: Path
) -> None:
    champion = release.read().champion
    copy(TARGET, [champion])
    with stored(TARGET):
        assert bundles.load(STORE, champion).replay_golden() > 0
    file = Path(bundles.folder(settings().store_url, champion)) / "model.onnx"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ContractError, match="was altered"):
        copy(TARGET, [champion])
