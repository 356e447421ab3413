"""The verbs as a person types them: in flow order, each alone, safe to repeat, and one line where one fails."""

import fcntl
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, Ran, configured, copy_of_bundle, ml, one_line

from ml.contract import bundle as bundles
from ml.contract import trained
from ml.contract.bundle import CONTRACT, CORE, MANIFEST, digest_of, dump
from ml.serving.server import free_port
from ml.settings import settings
from ml.store import partitions

STEPS = ("ingest", "validate", "features", "train", "evaluate", "register")
VERBS = (
    "ingest",
    "validate",
    "features",
    "train",
    "tune",
    "evaluate",
    "register",
    "gate",
    "promote",
    "release",
    "bundles",
    "fetch",
    "materialize",
    "score",
    "serve",
    "smoke",
    "load",
    "stream",
    "replay",
    "label",
    "experiment",
    "compact",
    "erase",
    "profile",
    "monitor",
    "skew",
    "retrain",
    "attest",
    "verify",
    "image",
    "deploy",
    "doctor",
    "prove",
    "drill",
)


@pytest.fixture(scope="module")
def alone(lake: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Ran]]:
    """A store in which every verb up to release was run alone, once, and what each said."""
    store = tmp_path_factory.mktemp("alone")
    return store, {verb: run_in(store, verb) for verb in (*STEPS, "gate", "release")}


def run_in(store: Path, *words: object) -> Ran:
    return ml(*words, ML_STORE_URL=store / "store", ML_RELEASE_FOLDER=store / "environments")


def says_one_line(ran: Ran, verb: str) -> str:
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert len(lines) == (3 if verb == "train" else 1)  # a rung each
    assert all(line.startswith(f"{verb} ") for line in lines)
    return ran.stdout


def test_help_lists_the_verbs_in_the_order_of_the_flow() -> None:
    listed = re.findall(r"^[│ ]*([a-z]+)  +[A-Z]", ml("--help", COLUMNS=120, TERM="dumb").stdout, re.MULTILINE)
    assert [verb for verb in listed if verb in VERBS] == list(VERBS)
    assert set(listed) == {*VERBS, "pipeline", "cluster", "demo"}


@pytest.mark.parametrize("verb", [*STEPS, "release"])
def test_a_verb_alone_says_in_one_line_what_it_did(alone: tuple[Path, dict[str, Ran]], verb: str) -> None:
    assert len(says_one_line(alone[1][verb], verb)) > 40


def test_verbs_alone_and_the_pipeline_make_the_same_bundle(
    alone: tuple[Path, dict[str, Ran]], bundle: tuple[str, str]
) -> None:
    store, said = alone
    assert bundles.newest(str(store / "store")) == bundle[1]
    assert bundle[1][:12] in said["register"].stdout
    assert f"champion: {bundle[1]}" in (store / "environments" / "laptop" / "release.yaml").read_text()


def test_the_gate_alone_says_what_the_pipelines_gate_said(alone: tuple[Path, dict[str, Ran]]) -> None:
    said = alone[1]["gate"]
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.startswith("gate      pass: logistic ")
    assert re.findall(r"^│ (\w+) +│ (\w+)", said.stdout, re.MULTILINE)[:3] == [
        ("primary", "pass"),
        ("better", "pass"),
        ("frozen", "pass"),
    ]


def test_releasing_what_is_released_changes_nothing(alone: tuple[Path, dict[str, Ran]], tmp_path: Path) -> None:
    shutil.copytree(alone[0], tmp_path, dirs_exist_ok=True)
    file = tmp_path / "environments" / "laptop" / "release.yaml"
    before = file.stat().st_mtime_ns
    assert "is the champion already; nothing changed" in says_one_line(run_in(tmp_path, "release"), "release")
    assert file.stat().st_mtime_ns == before


@pytest.mark.parametrize("verb", ["ingest", "features", "evaluate"])
def test_a_verb_can_be_repeated(alone: tuple[Path, dict[str, Ran]], verb: str, tmp_path: Path) -> None:
    store, said = alone
    shutil.copytree(store, tmp_path, dirs_exist_ok=True)
    assert run_in(tmp_path, verb).stdout.replace(str(tmp_path), str(store)) == said[verb].stdout


@pytest.mark.slow
def test_the_costly_verbs_can_be_repeated_and_make_the_same_bundle(alone: tuple[Path, dict[str, Ran]]) -> None:
    store, said = alone
    for verb in STEPS:
        assert run_in(store, verb).stdout == said[verb].stdout
    made = {file.name for file in (store / "store" / "bundles").iterdir()} - {bundles.NEWEST}
    assert len(made) == 3  # every rung of the ladder


@pytest.mark.parametrize(
    ("verb", "first"),
    [("validate", "ingest"), ("features", "ingest"), ("train", "features"), ("evaluate", "features"),
     ("register", "ingest"), ("release", "pipeline run"), ("retrain", "monitor"),
     ("gate", "pipeline run"), ("serve", "release")],
)  # fmt: skip
def test_a_verb_without_what_it_needs_names_the_verb_to_run(verb: str, first: str, tmp_path: Path) -> None:
    line = one_line(run_in(tmp_path, verb))
    assert re.search(rf"Run `ml {first}`( first)?$", line), line


def test_what_was_validated_is_what_is_registered(alone: tuple[Path, dict[str, Ran]], tmp_path: Path) -> None:
    shutil.copytree(alone[0] / "store" / "flow", tmp_path / "store" / "flow")
    report = tmp_path / "store" / "flow" / "validation.json"
    report.write_text(json.dumps({**json.loads(report.read_text()), "data": "0" * 64}))
    assert "other records were found valid" in one_line(run_in(tmp_path, "register"))
    assert not (tmp_path / "store" / "bundles").exists()


def test_new_records_take_away_what_was_made_of_others(alone: tuple[Path, dict[str, Ran]], tmp_path: Path) -> None:
    flow = tmp_path / "store" / "flow"
    shutil.copytree(alone[0] / "store" / "flow", flow)
    ran = run_in(tmp_path, "ingest", "--since", "2013-01-01", "--until", "2013-01-02")
    assert ran.returncode == 0, ran.stderr
    assert not {"validation.json", "table.parquet", "models", "evaluation.json"} & {
        each.name for each in flow.iterdir()
    }
    assert "Run `ml validate` first" in one_line(run_in(tmp_path, "features"))


@pytest.mark.slow
def test_an_alarm_makes_retrain_train_on_the_newest_days(released: Path, bundle: tuple[str, str]) -> None:
    reports = released / "store" / "reports" / "laptop"
    reports.mkdir(parents=True)

    def monitored(until: str, *, alarms: bool) -> None:
        told = {"until": until, "bundle": bundle[1], "signals": {"rate": {"alarms": alarms}}}
        told |= {"drifted": [], "estimated": {"worse": False}}
        (reports / "verdict.json").write_text(json.dumps(told))

    monitored("2013-04-15", alarms=False)
    assert "asks for nothing" in run_in(released, "retrain").stdout
    monitored("2013-04-15", alarms=True)
    assert "0 labels since the champion's last day" in run_in(released, "retrain").stdout
    labelled = pd.DataFrame({"outcome": np.zeros(5000)})
    partitions.write(f"{released}/store/labels/laptop", date(2013, 4, 15), labelled)
    ran = run_in(released, "retrain")
    assert ran.returncode == 0, ran.stderr
    assert "training on 2013-01-16 to 2013-04-15" in ran.stdout
    assert bundles.newest(str(released / "store")) != bundle[1]
    answered = re.search(r"^verdict +(\w+):", ran.stdout, re.MULTILINE)
    assert answered is not None
    assert trained.answer(f"{released}/store", date(2013, 1, 16), date(2013, 4, 15)) == answered[1]
    again = run_in(released, "retrain")
    assert "wait: 0 days after the last attempt, retraining.pause_days says 14" in again.stdout, again


def watch(seconds: float, **variables: str) -> str:
    """Return what is shown on standard error while three items take so long together."""
    program = f"""
import time
from ml.progress import track
for _ in track(range(3), "waiting", total=3):
    time.sleep({seconds / 3})
"""
    environment = {**os.environ, **variables}
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "")
    return ran.stderr


def test_a_bar_appears_after_two_seconds_and_not_before_and_only_on_a_terminal() -> None:
    assert "waiting" in watch(3.0, ML_PROGRESS="always")
    assert "waiting" not in watch(1.2, ML_PROGRESS="always")
    assert watch(3.0) == ""


@pytest.fixture
def released(bundle: tuple[str, str], tmp_path: Path) -> Path:
    """A folder with a store that holds the bundle, and nothing else yet."""
    copy_of_bundle(bundle, tmp_path / "store")
    return tmp_path


def test_a_bundle_with_a_flipped_byte_is_not_released(released: Path, bundle: tuple[str, str]) -> None:
    model = Path(bundles.folder(str(released / "store"), bundle[1])) / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    assert "was altered: its core hashes to" in one_line(run_in(released, "release"))
    assert not (released / "environments").exists()


def test_a_bundle_of_a_newer_contract_is_not_released(released: Path, bundle: tuple[str, str]) -> None:
    home = Path(bundles.folder(str(released / "store"), bundle[1]))
    (home / MANIFEST).write_bytes(dump({**json.loads((home / MANIFEST).read_bytes()), "contract": 99}))
    digest = digest_of({name: (home / name).read_bytes() for name in CORE})
    home.rename(home.with_name(digest))
    line = one_line(run_in(released, "release", digest[:12]))
    assert f"is of contract 99, this code reads {CONTRACT}. Upgrade the service" in line
    assert not (released / "environments").exists()


@pytest.mark.parametrize("digest", ["ffffffffffff", "newest", "../bundles"])
def test_an_unknown_digest_is_not_released(released: Path, digest: str) -> None:
    assert f"0 bundles begin with '{digest}'" in one_line(run_in(released, "release", digest))
    assert not (released / "environments").exists()


def test_a_bundle_that_was_never_judged_is_not_released(released: Path, bundle: tuple[str, str]) -> None:
    shutil.rmtree(released / "store" / "verdicts")
    line = one_line(run_in(released, "release"))
    assert f"{bundle[1][:12]} was never judged against" in line
    assert line.endswith(f"Run `ml gate --challenger {bundle[1][:12]}`")
    assert not (released / "environments").exists()


def test_a_bundle_that_the_gate_did_not_pass_is_not_released(released: Path, bundle: tuple[str, str]) -> None:
    (file,) = (released / "store" / "verdicts").rglob("verdict.json")
    found = json.loads(file.read_text())
    found["checks"][0]["answer"] = found["answer"] = "fail"
    file.write_text(json.dumps(found))
    assert re.search(
        r"the verdict on .* is fail: primary \(fail\)\. See .*gate\.html$", one_line(run_in(released, "release"))
    )
    assert not (released / "environments").exists()


def test_what_a_service_is_told_to_serve_is_no_way_around_the_gate(released: Path, bundle: tuple[str, str]) -> None:
    shutil.rmtree(released / "store" / "verdicts")
    variables = {"ML_STORE_URL": released / "store", "ML_RELEASE_FOLDER": released / "environments"}
    assert "was never judged against" in one_line(ml("release", ML_RELEASE_BUNDLE=bundle[1], **variables))
    assert not (released / "environments").exists()


def test_a_verdict_of_another_environment_or_framing_or_with_an_expired_waiver_releases_nothing(released: Path) -> None:
    variables = {"ML_STORE_URL": released / "store", "ML_RELEASE_FOLDER": released / "environments"}
    assert "was never judged against" in one_line(ml("release", ML_RELEASE_ENVIRONMENT="production", **variables))
    (file,) = (released / "store" / "verdicts").rglob("verdict.json")
    found = json.loads(file.read_text())
    file.write_text(json.dumps({**found, "framing": "0" * 64}))
    assert "was judged by another framing than today's" in one_line(run_in(released, "release"))
    waiver = {"check": "primary", "owner": "Ada", "reason": "None.", "expires": "2013-04-01"}
    found["checks"][0] |= {"answer": "fail", "waiver": waiver}
    file.write_text(json.dumps(found))
    assert "the waiver for primary has expired" in one_line(run_in(released, "release"))
    file.write_text("{}")
    assert re.search(r"the verdict on \w+ cannot be read\. Run `ml gate", one_line(run_in(released, "release")))
    assert not (released / "environments").exists()


def test_the_monitor_without_events_says_so(released: Path) -> None:
    assert run_in(released, "release").returncode == 0
    assert "nothing has been predicted in the environment laptop yet" in one_line(run_in(released, "monitor"))
    assert not (released / "store" / "reports").exists()


def test_a_replay_against_a_dead_server_says_so(lake: str) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    where = ("--url", url, "--outcomes-url", url)
    line = one_line(ml("replay", "--since", "2013-04-01", "--until", "2013-04-01", *where))
    assert line.startswith(f"error: replay: no service answers at {url}")
    assert line.endswith("Run `ml serve` first")


def test_a_second_pipeline_waits_for_nobody(tmp_path: Path) -> None:
    (tmp_path / "store" / "pipeline").mkdir(parents=True)
    with (tmp_path / "store" / "pipeline" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another pipeline is running on this store" in one_line(run_in(tmp_path, "pipeline", "run"))
    assert [path.name for path in (tmp_path / "store" / "pipeline").iterdir()] == ["lock"]


@pytest.mark.parametrize(
    "words",
    [("ingest",), ("release",), ("serve",), ("monitor",), ("pipeline", "run")],
    ids=" ".join,
)
def test_a_store_that_cannot_be_written_is_named(words: tuple[str, ...], lake: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = tmp_path / "file" / "store"
    line = one_line(ml(*words, ML_STORE_URL=store, ML_RELEASE_FOLDER=tmp_path))
    assert line.startswith("error: ")
    assert "project.toml" in line or "Run `ml " in line


def test_a_full_disk_leaves_no_half_of_a_file(lake: str, tmp_path: Path) -> None:
    with configured(ML_STORE_URL=tmp_path / "store"):
        command = [sys.executable, "-m", "ml", "ingest", "--until", "2013-02-28"]
        ran = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536)),
        )  # fmt: skip
        assert "File too large" in one_line(ran)
        assert list((tmp_path / "store" / "flow").iterdir()) == []
        assert settings().store_url == str(tmp_path / "store")


@pytest.mark.parametrize(
    ("file", "line", "instead", "says"),
    [
        ("project.toml", "port = 3000", "port = 3000\nprot = 3001", "settings: serve.prot: Extra inputs"),
        ("project.toml", "port = 3000", 'port = "http"', "settings: serve.port: Input should be a valid integer"),
        ("project.toml", "[serve]", "[serve", "settings: project.toml cannot be read"),
    ],
)
def test_a_wrong_file_is_named_with_its_key(project: Path, file: str, line: str, instead: str, says: str) -> None:
    text = (project / file).read_text()
    assert line in text
    (project / file).write_text(text.replace(line, instead))
    found = one_line(ml("serve", cwd=project, PYTHONPATH=project, ML_STORE_URL=project / "store"))
    assert says in found


def test_a_problem_that_is_not_binary_classification_is_refused(project: Path, lake: str) -> None:
    framing, store = project / "ml" / "problem" / "framing.toml", project / "store"
    framing.write_text(framing.read_text().replace("binary-classification", "regression"))
    ran = ml("pipeline", "run", "--until", "2013-01-03", cwd=project, PYTHONPATH=project, ML_STORE_URL=store)
    line = one_line(ran)
    assert "framing: task.kind = 'regression': Input should be 'binary-classification'. Edit" in line
    assert line.endswith("Edit ml/problem/framing.toml, line 12")
    assert not (store / "bundles").exists()


def test_a_window_that_the_lake_does_not_have_is_named(lake: str, tmp_path: Path) -> None:
    assert "has no partition of 2014-01-01 (31 days absent)" in one_line(
        run_in(tmp_path, "ingest", "--since", "2013-12-31", "--until", "2014-01-31")
    )
    assert "before it begins" in one_line(run_in(tmp_path, "ingest", "--since", "2013-02-02", "--until", "2013-02-01"))
    assert not list(tmp_path.rglob("*.parquet"))
