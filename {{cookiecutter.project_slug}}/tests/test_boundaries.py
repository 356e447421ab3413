"""Who may know whom: the design's boundaries, held by the imports themselves."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ML = Path(__file__).resolve().parents[1] / "ml"
MODULES = sorted(ML.rglob("*.py"))

SUBSYSTEMS = ("training", "gate", "serving", "labelling", "monitoring", "stream", "experiment", "scoring")

# Each outside tool and the only modules that know it.
HOMES = {
    "aiohttp": ["delivery/balancer.py", "serving/outcomes.py"],
    "bentoml": ["serving/service.py"],
    "confluent_kafka": ["stream/broker.py"],
    "cryptography": ["attestation/signing.py"],
    "docker": ["pipeline/containers.py"],
    "duckdb": ["features/asof.py"],
    "fsspec": ["store/files.py"],
    "great_expectations": ["checks/suite.py"],
    "httpx": [
        "cluster/load.py",
        "delivery/smoke.py",
        "delivery/targets/generation.py",
        "github/api.py",
        "replay.py",
        "serving/remote.py",
        "serving/server.py",
    ],
    "jinja2": ["pages/page.py"],
    "kfp": [
        *("pipeline/awaiting.py", "pipeline/compiled.py", "pipeline/containers.py", "pipeline/placement.py"),
        *("pipeline/run.py", "pipeline/scoring_steps.py", "pipeline/session.py", "pipeline/steps.py"),
        *("pipeline/training.py", "pipeline/versions.py"),
    ],
    "kfp_server_api": ["pipeline/awaiting.py", "pipeline/session.py", "pipeline/versions.py"],
    "kubernetes": ["pipeline/trainer.py"],
    "lightgbm": ["problem/models.py", "training/export.py"],
    "lmdb": ["online/embedded.py"],
    "matplotlib": ["pages/picture.py"],
    "onnx": ["training/export.py", "training/network_graph.py"],
    "onnxmltools": ["training/export.py"],
    "onnxruntime": ["contract/scorer.py"],
    "opentelemetry": ["serving/tracing.py"],
    "optuna": ["training/tune.py"],
    "prometheus_client": [
        "delivery/metrics.py",
        "monitoring/exporter.py",
        "monitoring/gauges.py",
        "serving/counters.py",
        "stream/counters.py",
    ],
    "pyflink": ["stream/flink.py"],
    "redis": ["online/networked.py"],
    "rich": ["progress.py"],
    "skl2onnx": ["training/export.py"],
    "torch": ["models/descent.py"],
    "typer": [
        *("__main__.py", "verbs/cluster.py", "verbs/delivery.py", "verbs/demo.py", "verbs/pipeline.py"),
        *("verbs/promotion.py", "verbs/serving.py", "verbs/training.py", "verbs/verb.py", "verbs/watching.py"),
    ],
    "whylogs": ["contract/profile.py"],
    "yaml": ["contract/release.py", "delivery/mirror.py", "doctor/kubernetes.py"],
}

# What each folder may import of ml; what is not named here may import anything.
KNOWS = {
    "checks": {"checks", "contract", "features", "problem"},
    "store": {"errors", "store"},
    "online": {"ahead", "errors", "online", "store"},
    "statistics": {"statistics"},
    "pages": {"statistics", "pages"},
    "models": {"errors", "features", "models"},
    "features": {"errors", "progress", "contract", "features", "online", "problem"},
    "problem": {"errors", "features", "models", "problem", "store"},
    "contract": {"errors", "settings", "store", "statistics", "features", "problem", "contract"},
    "doctor": {"cluster", "doctor", "errors", "github", "progress", "settings", "store"},
    "github": {"errors", "github", "progress", "settings"},
    "attestation": {"attestation", "contract", "errors", "github", "progress", "revision", "settings", "store"},
    "eventlog": {"contract", "errors", "eventlog", "processes", "settings", "store"},
}
SHARED = {"checks", "contract", "errors", "features", "models", "pages", "problem", "processes", "progress", "settings"}
SHARED |= {"ahead", "eventlog", "logs", "online", "revision", "statistics", "store"}


def imports(module: Path) -> Iterator[str]:
    """Yield the dotted names that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively, which a Kubeflow step cannot"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def place(module: Path) -> str:
    return module.relative_to(ML).as_posix()


@pytest.mark.parametrize("subsystem", SUBSYSTEMS)
def test_subsystems_never_import_each_other(subsystem: str) -> None:
    for module in (ML / subsystem).rglob("*.py"):
        own = {name.split(".")[1] for name in imports(module) if name.startswith("ml.")}
        assert own <= SHARED | {subsystem}, place(module)


@pytest.mark.parametrize("folder", KNOWS)
def test_a_shared_folder_knows_only_what_lies_below_it(folder: str) -> None:
    for module in (ML / folder).rglob("*.py"):
        own = {name.split(".")[1] for name in imports(module) if name.startswith("ml.")}
        assert own <= KNOWS[folder], place(module)


@pytest.mark.parametrize("tool", HOMES)
def test_an_outside_tool_lives_in_its_one_place(tool: str) -> None:
    users = [place(module) for module in MODULES if tool in {name.split(".")[0] for name in imports(module)}]
    assert users == HOMES[tool]


def test_only_the_clock_reads_the_time() -> None:
    asked = ("datetime.now", "datetime.utcnow", "date.today", "time.time(", "Timestamp.now", 'datetime64("now")')
    readers = [place(module) for module in MODULES if any(ask in module.read_text() for ask in asked)]
    assert readers == ["contract/clock.py"]


def test_the_service_loads_no_training_library() -> None:
    heavy = (
        "confluent_kafka",
        "duckdb",
        "great_expectations",
        "kfp",
        "lightgbm",
        "matplotlib",
        "pandas",
        "scipy",
        "skl2onnx",
        "sklearn",
        "torch",
        "whylogs",
    )
    asked = f"import sys, ml.serving.service; print([name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, cwd=ML.parent)
    assert loaded.stdout.strip() == "[]"
