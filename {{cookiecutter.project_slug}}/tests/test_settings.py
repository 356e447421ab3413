"""Settings and framing: any key can be set from outside, and a wrong one is named."""

import json
import re
from datetime import date
from pathlib import Path

import pytest
from conftest import configured

import ml.problem
import ml.settings
from ml.contract.framing import framing
from ml.errors import ContractError
from ml.settings import Settings, settings

OTHER = {
    "project.name": "Another",
    "project.slug": "another",
    "project.description": "Something else.",
    "store.url": "s3://bucket/store",
    "data.url": "/elsewhere/lake",
    "data.since": "2013-02-01",
    "data.until": "2013-05-31",
    "train.seed": 7,
    "train.threads": 2,
    "train.rungs": ["constant", "network"],
    "release.folder": "/elsewhere/environments",
    "release.environment": "staging",
    "release.bundle": "a" * 64,
    "promotion.stages": ["test", "live"],
    "promotion.canary": [1.0, 100.0],
    "promotion.evidence_days": 2.5,
    "online.url": "redis://elsewhere:6379/0",
    "stream.brokers": "elsewhere:9092",
    "stream.topic_prefix": "other",
    "stream.inbox": "/elsewhere/inbox",
    "stream.metrics_host": "0.0.0.0",
    "stream.metrics_port": 9400,
    "score.chunk_rows": 5000,
    "score.ttl_hours": 6.5,
    "serve.host": "0.0.0.0",
    "serve.port": 8080,
    "serve.outcomes_port": 8081,
    "serve.clock": "simulated",
    "serve.drain_seconds": 10.0,
    "serve.secrets": "/run/secrets/ml",
    "events.url": "s3://bucket/events",
    "events.spool": "/elsewhere/spool",
    "events.segment_seconds": 5.0,
    "log.format": "json",
    "image.registry": "registry.example.org/team",
    "image.base": "registry.example.org/python:3.12",
    "signing.by": "github",
    "signing.key": "/run/secrets/signing-key",
    "signing.public_key": "keys/other.pem",
    "deploy.target": "processes",
    "deploy.context": "other",
    "deploy.namespace": "team",
    "deploy.replicas": 3,
    "deploy.bake_minutes": 0.5,
    "deploy.error_rate": 0.05,
    "deploy.latency_p99_ms": 250.0,
    "deploy.drift": 0.3,
    "deploy.breach": "rollback",
    "monitor.window_days": 14,
    "monitor.drift_days": 3,
    "monitor.keep_days": 30,
    "kubeflow.host": "https://kubeflow.example.org",
    "kubeflow.namespace": "team",
    "kubeflow.token": "/run/secrets/token",
    "kubeflow.image": "registry.example.org/other-training@sha256:" + "b" * 64,
    "kubeflow.experiment": "other",
    "kubeflow.secret": "other-store",
    "kubeflow.volume": "other-claim",
    "trainjob.rungs": ["network"],
    "trainjob.image": "registry.example.org/other-torch@sha256:" + "c" * 64,
    "trainjob.runtime": "other-runtime",
    "trainjob.nodes": 2,
    "trainjob.cpu": "500m",
    "trainjob.memory": "16Gi",
    "trainjob.gpus": 1,
    "demo.replays": [["2013-05-01", "2013-05-07"]],
    "drill.since": "2013-06-01",
    "drill.calm_days": 8,
    "drill.days": 3,
}

FRAMING = Path(ml.problem.__file__).parent / "framing.toml"


def keys() -> list[str]:
    return [
        f"{table}.{key}"
        for table, field in Settings.model_fields.items()
        for key in field.annotation.model_fields  # type: ignore[union-attr]
    ]


@pytest.fixture
def framed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Let the framing be what is written here instead."""

    def write(text: str) -> None:
        (tmp_path / "framing.toml").write_text(text)
        monkeypatch.setattr(ml.problem, "__file__", str(tmp_path / "__init__.py"))
        framing.cache_clear()

    yield write
    framing.cache_clear()


def test_a_variable_of_a_misspelt_key_is_refused() -> None:
    with (
        configured(ML_SERVE_PRT="1"),
        pytest.raises(ContractError, match=r"serve\.prt: Extra inputs are not permitted"),
    ):
        settings()


@pytest.mark.parametrize("key", keys())
def test_a_variable_overrides_its_key(key: str) -> None:
    table, name = key.split(".")
    value = OTHER[key]
    with configured(**{f"ML_{table}_{name}".upper(): json.dumps(value) if isinstance(value, list) else value}):
        found = settings().model_dump(mode="json")[table][name]
    assert found == value


@pytest.mark.parametrize(
    ("variable", "value", "key"),
    [
        ("ML_SERVE_PORT", "http", "serve.port"),
        ("ML_SERVE_PORT", "70000", "serve.port"),
        ("ML_SERVE_CLOCK", "sundial", "serve.clock"),
        ("ML_SERVE_OUTCOMES_PORT", "0", "serve.outcomes_port"),
        ("ML_SERVE_DRAIN_SECONDS", "-1", "serve.drain_seconds"),
        ("ML_EVENTS_SEGMENT_SECONDS", "0", "events.segment_seconds"),
        ("ML_LOG_FORMAT", "xml", "log.format"),
        ("ML_DATA_SINCE", "January", "data.since"),
        ("ML_RELEASE_ENVIRONMENT", "../staging", "release.environment"),
        ("ML_RELEASE_BUNDLE", "newest", "release.bundle"),
        ("ML_PROMOTION_STAGES", "[]", "promotion.stages"),
        ("ML_PROMOTION_STAGES", '["staging", "staging"]', "promotion.stages"),
        ("ML_PROMOTION_STAGES", '["../staging"]', "promotion.stages.0"),
        ("ML_PROMOTION_CANARY", "[50, 25]", "promotion.canary"),
        ("ML_PROMOTION_CANARY", "[101]", "promotion.canary.0"),
        ("ML_PROMOTION_EVIDENCE_DAYS", "0", "promotion.evidence_days"),
        ("ML_SIGNING_BY", "hand", "signing.by"),
        ("ML_DEPLOY_TARGET", "ftp", "deploy.target"),
        ("ML_DEPLOY_REPLICAS", "0", "deploy.replicas"),
        ("ML_DEPLOY_ERROR_RATE", "1", "deploy.error_rate"),
        ("ML_DEPLOY_NAMESPACE", "My Team", "deploy.namespace"),
        ("ML_DEMO_REPLAYS", "[", "demo.replays"),
        ("ML_TRAIN_THREADS", "0", "train.threads"),
        ("ML_SCORE_CHUNK_ROWS", "0", "score.chunk_rows"),
        ("ML_SCORE_TTL_HOURS", "0", "score.ttl_hours"),
        ("ML_KUBEFLOW_HOST", "kubeflow:8080", "kubeflow.host"),
        ("ML_KUBEFLOW_SECRET", "", "kubeflow.secret"),
        ("ML_TRAINJOB_NODES", "0", "trainjob.nodes"),
        ("ML_TRAINJOB_MEMORY", "much", "trainjob.memory"),
    ],
)
def test_a_bad_value_is_refused_with_its_key(variable: str, value: str, key: str) -> None:
    with (
        configured(**{variable: value}),
        pytest.raises(ContractError, match=rf"^settings: {key}: .*Edit project\.toml"),
    ):
        settings()


@pytest.mark.parametrize(
    ("added", "named"),
    [("[serve]\nprot = 1", "serve.prot"), ("[extra]", "extra"), ("[", "project")],
)
def test_what_nothing_reads_in_project_toml_is_refused(
    added: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (ml.settings.ROOT / "project.toml").read_text()
    table = added.partition("\n")[0]
    told = whole.replace(table, added) if f"\n{table}\n" in whole else f"{whole}\n{added}\n"
    (tmp_path / "project.toml").write_text(told)
    monkeypatch.setattr(ml.settings, "ROOT", tmp_path)
    with configured(), pytest.raises(ContractError, match=rf"^settings: {named}"):
        settings()


def test_relative_places_lie_in_the_project_and_urls_stay() -> None:
    with configured(ML_STORE_URL="store", ML_DATA_URL="s3://bucket/lake"):
        assert settings().store_url == str(ml.settings.ROOT / "store")
        assert settings().lake_url == "s3://bucket/lake"
        assert settings().data.since == date(2013, 1, 1)


@pytest.mark.parametrize(
    ("line", "instead", "named"),
    [
        ('kind = "binary-classification"', 'kind = "regression"', "task.kind = 'regression': Input should be"),
        ("miss = 7", "miss = -7", "cost.miss = -7: Input should be greater than 0"),
        ("test_days = 21", "test_days = 0", "time.test_days = 0: "),
        ('"America/New_York"', '"New York"', "time.timezone = 'New York': no time zone is called"),
        ('cluster = "day"', 'cluster = "week"', "time.cluster = 'week': Input should be 'day'"),
        ("every = 6", "every = 14", "frozen.every = 14: a multiple of seven would take one weekday only"),
        ("calibration = [0.35, 2.8]", "calibration = [1.1, 2.8]", "gate.calibration = .*both sides of 1"),
        ('["origin", "carrier"]', '["origin", "moon"]', "slices.features = .*'moon' is no category"),
        ("[gate]\nalpha = 0.05 ", "[gate]\nalpha = 0.5 ", "gate.alpha = 0.5: Input should be less than 0.5"),
        ('["tailnum", "flight"]', '["tailnum", "moon"]', "experiment.entity = .*'moon' is no field of a record"),
        ("margin = 0.01 ", "margin = 0.001 ", "task.margin = 0.005: rungs may differ by more than gate.margin"),
        ("ution_hours = 48", "ution_hours = 12", "label.attribution_hours = 12: time.label_delay_hours are 24"),
        ("\ndays = 14 ", "\ndays = 22 ", "gate.days = 22: time.test_days are only 21"),
        ("until = 2013-03-30", "until = 2013-02-01", "frozen.until = .*: 5 days, of gate.days"),
        ("positives = 30", "positives = 600", "slices.positives = 600: of 500 rows"),
        ("window_days = 90", "window_days = 20", "retraining.window_days = 20: time.test_days alone are 21"),
    ],
)
def test_a_wrong_or_contradictory_framing_is_refused_with_line_and_reason(
    framed, line: str, instead: str, named: str
) -> None:
    text = FRAMING.read_text()
    assert text.count(line) == 1
    framed(text.replace(line, instead))
    with pytest.raises(
        ContractError, match=rf"^framing: {named}.*\. Edit ml/problem/framing\.toml, line (\d+)$"
    ) as said:
        framing()
    key = named.split(" ")[0].rpartition(".")[2]
    blamed = FRAMING.read_text().replace(line, instead).splitlines()[int(str(said.value).rpartition(" ")[2]) - 1]
    assert re.match(rf"{key} *=", blamed)


@pytest.mark.parametrize(
    ("line", "instead", "named"),
    [
        ("margin = 0.005", "margins = 0.005", "task.margins = 0.005: Extra inputs are not permitted"),
        ("margin = 0.005", "", "task.margin: Field required"),
        ("[leak]", "[leaks]", "leaks: Extra inputs are not permitted"),
    ],
)
def test_what_the_framing_lacks_or_has_too_much_is_named(framed, line: str, instead: str, named: str) -> None:
    framed(FRAMING.read_text().replace(line, instead))
    with pytest.raises(ContractError, match=rf"^framing: {named}.*Edit ml/problem/framing\.toml, line \d+$"):
        framing()


def test_the_event_log_lies_below_the_store_or_where_it_is_told_and_its_spool_on_this_node() -> None:
    with configured(ML_STORE_URL="s3://bucket/store", ML_EVENTS_SPOOL="spool", ML_RELEASE_ENVIRONMENT="staging"):
        assert settings().events_url == "s3://bucket/store/events/staging"
        assert settings().spool == ml.settings.ROOT / "spool" / "staging"
    with configured(ML_STORE_URL="/store", ML_EVENTS_URL="s3://bucket/log"):
        assert settings().events_url == "s3://bucket/log/laptop"


def test_the_threshold_is_where_acting_becomes_cheaper(framed) -> None:
    framed(FRAMING.read_text().replace("false_alarm = 1 ", "false_alarm = 3 ").replace("miss = 7", "miss = 9"))
    assert framing().cost.costs.threshold == pytest.approx(0.25)
