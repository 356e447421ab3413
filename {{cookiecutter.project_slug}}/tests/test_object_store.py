"""Partitions and bundles in a real object store (SeaweedFS speaks S3), through the same one door as in a directory."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from conftest import configured, ml, one_line
from pandas.testing import assert_frame_equal

from ml.contract import bundle as bundles
from ml.contract import ledger, verdict
from ml.contract.events import OUTCOMES
from ml.errors import ContractError
from ml.eventlog import shipping
from ml.eventlog.log import EventLog
from ml.eventlog.read import read
from ml.problem import source
from ml.scoring.plan import plan
from ml.scoring.publish import publish, whole
from ml.scoring.score import score
from ml.store import files

pytestmark = pytest.mark.slow

ADMIN, KEY, SECRET = "an-admin", "a-team", "a-secret-of-both"
DAYS = [date(2013, 1, 1), date(2013, 1, 2), date(2013, 1, 3)]


class Store(NamedTuple):
    """A running store: where it answers, and a bucket in it."""

    endpoint: str
    bucket: str


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback address that nobody uses now, none of them twice."""
    with ExitStack() as held:
        return [held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)]


def command(folder: Path, s3_port: int) -> list[str]:
    """Return how SeaweedFS is started as one process that keeps to the loopback address, the folder, and itself."""
    may = {ADMIN: ["Admin"], KEY: ["Read", "Write", "List"]}
    identities = [
        {"name": key, "credentials": [{"accessKey": key, "secretKey": SECRET}], "actions": actions}
        for key, actions in may.items()
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    roles = ("master", "volume", "filer")
    ports = free_ports(7)
    return [
        str(Path(sys.executable).with_name("weed")), "server",
        "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", "-master.telemetry=false",
        "-master.volumeSizeLimitMB=64", "-volume.max=0", "-filer", f"-filer.localSocket={folder}/filer.sock",
        "-s3", f"-s3.config={folder}/s3.json", f"-s3.localSocket={folder}/s3.sock",
        f"-s3.port={s3_port}", f"-s3.port.grpc={ports[6]}", "-s3.port.iceberg=0", "-s3.port.lance=0",
        *(f"-{role}.port={port}" for role, port in zip(roles, ports[:3], strict=True)),
        *(f"-{role}.port.grpc={port}" for role, port in zip(roles, ports[3:6], strict=True)),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with started(tmp_path_factory.mktemp("seaweed"), *free_ports(1)) as found:
        yield found


@contextmanager
def started(folder: Path, port: int) -> Iterator[Store]:
    """Run SeaweedFS on a port, with its files in a folder."""
    words = command(folder, port)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log)
    try:
        found = Store(f"http://127.0.0.1:{port}", "lakes")
        wait(process, folder / "log", found)
        yield found
    finally:
        process.kill()  # it has nothing to save
        process.wait()
        for port in re.findall(r"port\.grpc=(\d+)", " ".join(words)):
            for socket_left in Path("/tmp").glob(f"seaweedfs-*-grpc-{port}.sock"):  # always there, never removed
                socket_left.unlink()


def wait(process: "subprocess.Popen[bytes]", log: Path, store: Store, patience: float = 60) -> None:
    """Return once the store keeps what is put into a new bucket."""
    from s3fs import S3FileSystem

    deadline = time.monotonic() + patience
    while process.poll() is None and time.monotonic() < deadline:
        try:
            httpx.get(store.endpoint)
            system = S3FileSystem(key=ADMIN, secret=SECRET, endpoint_url=store.endpoint, skip_instance_cache=True)
            system.makedirs(store.bucket, exist_ok=True)
            system.pipe_file(f"{store.bucket}/ready", b"yes")
        except (httpx.HTTPError, OSError):
            time.sleep(0.3)
        else:
            return
    pytest.fail(f"SeaweedFS did not start: {log.read_text()[-2000:]}")


def credentials(store: Store, key: str = KEY) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_ENDPOINT_URL": store.endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


@pytest.fixture
def team(store: Store) -> Iterator[str]:
    """The URL of a bucket, for a process with the credentials of one who may use it."""
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()
    with configured(**credentials(store)):
        yield f"s3://{store.bucket}"
    S3FileSystem.clear_instance_cache()


def test_days_there_are_listed_and_read_alone_as_in_a_directory(team: str, lake: str) -> None:
    from s3fs import S3FileSystem

    there = f"{team}/source"
    assert source.days(there) == []
    for day in DAYS[:2]:
        files.write(f"{there}/day={day}.parquet", Path(lake, f"day={day}.parquet").read_bytes())
    assert source.days(there) == DAYS[:2]
    another = S3FileSystem(skip_instance_cache=True)
    another.pipe_file(f"{there}/day={DAYS[2]}.parquet", Path(lake, f"day={DAYS[2]}.parquet").read_bytes())
    assert source.days(there) == DAYS  # what another process writes is seen at once, also after a listing
    for day in DAYS:
        assert_frame_equal(source.read(there, day), source.read(lake, day))
    with pytest.raises(FileNotFoundError):
        source.read(there, date(2013, 1, 4))


def test_ingest_publishes_the_whole_year_there_and_repeats(store: Store, lake: str, tmp_path: Path) -> None:
    variables = credentials(store) | {"ML_DATA_URL": f"s3://{store.bucket}/year", "ML_STORE_URL": str(tmp_path)}
    made = []
    for _ in range(2):
        ran = ml("ingest", "--until", DAYS[-1], **variables)
        assert ran.returncode == 0, ran.stderr
        assert f"read 3 days from s3://{store.bucket}/year" in ran.stdout
        made.append((tmp_path / "flow/records.parquet").read_bytes())
    assert made[0] == made[1]
    ran = ml("ingest", "--until", DAYS[-1], ML_DATA_URL=lake, ML_STORE_URL=tmp_path)
    assert (tmp_path / "flow/records.parquet").read_bytes() == made[0]


def test_a_bundle_is_saved_found_and_loaded_there(team: str, bundle: tuple[str, str]) -> None:
    home = Path(bundles.folder(*bundle))
    there = f"{team}/models"
    with pytest.raises(ContractError, match="there is no bundle"):
        bundles.newest(there)
    core = {name: (home / name).read_bytes() for name in bundles.CORE}
    for _ in range(2):
        assert bundles.save(there, core, {"model_card.md": b"# A card"}) == bundle[1]
    assert bundles.newest(there) == bundle[1]
    assert bundles.load(there, bundle[1]).replay_golden() == 64
    assert files.read(f"{bundles.folder(there, bundle[1])}/model_card.md") == b"# A card"
    files.write(f"{bundles.folder(there, bundle[1])}/golden.json", b"[]")
    with pytest.raises(ContractError, match="was altered"):
        bundles.load(there, bundle[1])


def test_partitions_there_are_scored_into_files_there_as_in_a_directory(
    team: str, lake: str, bundle: tuple[str, str], tmp_path: Path
) -> None:
    def scored(records: str, scores: str) -> dict[str, bytes]:
        run = plan(bundle[1], records, lake, DAYS[0], DAYS[1], None, 500)
        for before in (False, True):
            assert list(score(run, bundle[0], scores)) == [(part, before) for part in run.parts()]
        publish(run, whole(run, scores), scores, str(tmp_path / f"online-{run.run}"), 1)
        return {part.name: files.read(f"{scores}/{run.run}/{part.name}") for part in run.parts()}

    for day in DAYS[:2]:
        files.write(f"{team}/to-score/day={day}.parquet", Path(lake, f"day={day}.parquet").read_bytes())
    there = scored(f"{team}/to-score", f"{team}/scores")
    assert there == scored(lake, str(tmp_path / "scores"))
    assert len(there) == 4


def test_a_wrong_key_an_absent_bucket_and_a_dead_store_are_told_in_one_line(store: Store, tmp_path: Path) -> None:
    (dead,) = free_ports(1)
    here = {"ML_DATA_URL": f"s3://{store.bucket}/year", "ML_STORE_URL": str(tmp_path)}
    wrong = {
        "wrong key": credentials(store, "nobody") | here,
        "wrong secret": credentials(store) | here | {"AWS_SECRET_ACCESS_KEY": "guessed"},
        "no credentials": {name: "" for name in credentials(store)} | here | {"AWS_EC2_METADATA_DISABLED": "true"},
        "absent bucket": credentials(store) | here | {"ML_DATA_URL": "s3://absent/year"},
        "dead store": credentials(store) | here | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{dead}"},
        "unknown kind": credentials(store) | here | {"ML_DATA_URL": "nonsense://bucket/year"},
    }
    for what, variables in wrong.items():
        line = one_line(ml("ingest", **variables))
        assert line.startswith("error: store: "), what
        assert "project.toml" in line, what
        print(what, line)
    assert not (tmp_path / "flow").exists() or not list((tmp_path / "flow").iterdir())


def test_what_appends_says_that_it_needs_a_directory(store: Store) -> None:
    line = one_line(ml("ingest", **credentials(store) | {"ML_STORE_URL": f"s3://{store.bucket}/store"}))
    assert "need a local directory" in line


def test_the_whole_pipeline_there_makes_the_bundle_and_the_verdict_that_it_makes_in_a_directory(
    store: Store, team: str, bundle: tuple[str, str], tmp_path: Path
) -> None:
    places = {"ML_DATA_URL": f"{team}/year", "ML_STORE_URL": f"{team}/whole", "TMPDIR": str(tmp_path)}
    ran = ml("pipeline", "run", **credentials(store) | places)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert bundles.newest(f"{team}/whole") == bundle[1]
    assert bundles.load(f"{team}/whole", bundle[1]).replay_golden() == 64
    champion = bundles.load(*bundle).baseline
    here, there = (verdict.load(url, bundle[1], champion) for url in (bundle[0], f"{team}/whole"))
    assert (here.answer, here.champion, here.challenger) == (there.answer, there.champion, there.challenger)
    (name,) = files.names(f"{team}/whole/ledger/runs")
    told = ledger.read(f"{team}/whole", "runs", name.removesuffix(".json"))
    assert told == {"bundle": bundle[1], "champion": champion}
    assert b"<html" in files.read(f"{verdict.folder(f'{team}/whole', bundle[1], champion)}/gate.html")


def test_the_state_of_what_lies_there_is_another_after_every_change(team: str) -> None:
    assert files.states(f"{team}/watched") == {}
    for name in ("day=2013-01-01.parquet", "events/a/day=2013-01-01.parquet"):
        files.write(f"{team}/watched/{name}", b"one")
    first = files.states(f"{team}/watched")
    assert list(first) == ["day=2013-01-01.parquet", "events/a/day=2013-01-01.parquet"]
    assert files.states(f"{team}/watched") == first
    files.write(f"{team}/watched/day=2013-01-01.parquet", b"two")
    assert [name for name, state in files.states(f"{team}/watched").items() if first[name] != state] == [
        "day=2013-01-01.parquet"
    ]


def test_of_two_who_write_the_same_record_of_the_ledger_one_wins(team: str) -> None:
    assert ledger.once(f"{team}/kept", "book", "name", {"by": "one"})
    assert not ledger.once(f"{team}/kept", "book", "name", {"by": "the other"})
    assert b"one" in files.read(f"{team}/kept/ledger/book/name.json")


def tell(log: EventLog, name: str) -> None:
    log.append(OUTCOMES, {"request_id": [name], "time": datetime.now(UTC), "outcome": True, "sender": "me"}, 1)


def test_segments_of_the_event_log_are_sent_there_and_read_together_with_the_open_one(
    team: str, tmp_path: Path
) -> None:
    url = f"{team}/log"
    for name in "ab":
        log = EventLog(tmp_path, url, seconds=3600)
        tell(log, name)
        log.close()
    assert len(files.names(f"{url}/{OUTCOMES}")) == 2
    log = EventLog(tmp_path, url, seconds=3600)
    tell(log, "open")
    log.flush()
    assert read(url, OUTCOMES).request_id.tolist() == ["a", "b"]
    assert read(url, OUTCOMES, tmp_path).request_id.tolist() == ["a", "b", "open"]
    log.close()


def test_a_store_that_is_down_at_first_gets_every_row_once_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from s3fs import S3FileSystem

    monkeypatch.setattr(shipping, "AGAIN", 0.2)
    (port,) = free_ports(1)
    down, spool = Store(f"http://127.0.0.1:{port}", "lakes"), tmp_path / "spool"
    S3FileSystem.clear_instance_cache()
    with configured(**credentials(down)):
        log = EventLog(spool, f"s3://{down.bucket}/log", seconds=0.1)
        for name in "abc":
            tell(log, name)
            log.flush()
        deadline = time.monotonic() + 120
        while not caplog.records and time.monotonic() < deadline:
            time.sleep(0.1)
        assert "wait in" in caplog.records[0].message
        (tmp_path / "seaweed").mkdir()
        with started(tmp_path / "seaweed", port):
            while list(spool.rglob("*.arrow")) and time.monotonic() < deadline:
                time.sleep(0.1)
            assert read(f"s3://{down.bucket}/log", OUTCOMES).request_id.tolist() == ["a", "b", "c"]
            log.close()
    S3FileSystem.clear_instance_cache()
