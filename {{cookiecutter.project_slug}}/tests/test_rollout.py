"""A release at work: shadow, canary and promotion without a restart, and what happens when a model fails."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from conftest import NOON, configured, copy_of_bundle

from ml.contract import bundle as bundles
from ml.contract import events, release
from ml.contract.clock import Clock
from ml.contract.release import Arm, Experiment, Release
from ml.contract.schema import record_type
from ml.contract.secrets import salt
from ml.eventlog.log import EventLog
from ml.eventlog.read import logged
from ml.features.table import columns_of, json_of_frame
from ml.online.store import connect
from ml.serving.batching import Batching
from ml.serving.journal import Journal
from ml.serving.plan import Plan
from ml.serving.predictor import Predictor
from ml.serving.router import Router
from ml.serving.server import Service, free_port, running
from ml.settings import settings


def trying(mode: Any, digest: str, percent: float = 100) -> Experiment:
    return Experiment(name=f"a-{mode}", mode=mode, arms={"challenger": Arm(bundle=digest, percent=percent)})


def until(holds: Callable[[], bool], patience: float = 15) -> None:
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def pair(bundle: tuple[str, str]) -> tuple[str, str]:
    """The digests of a champion and of a challenger that scores clearly otherwise."""
    return bundle[1], bundles.load(*bundle).baseline


@pytest.fixture(scope="module")
def service(
    bundle: tuple[str, str], pair: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service whose release names both bundles."""
    store = tmp_path_factory.mktemp("rollout")
    copy_of_bundle(bundle, store)
    with configured(ML_STORE_URL=store, ML_RELEASE_FOLDER=store / "environments"):
        release.write(Release(champion=pair[0], experiment=trying("shadow", pair[1])))
        with running("127.0.0.1", free_port(), "simulated", store / "serve.log") as found:
            yield found


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, headers=NOON, timeout=30) as found:
        yield found


def entities(sent: list[dict[str, Any]]) -> np.ndarray:
    records = [record_type().model_validate(each, strict=False) for each in sent]
    return events.entities(["tailnum", "flight"], columns_of(records))


def table(name: str, ids: list[str]) -> pd.DataFrame:
    """Return the rows of these requests, once they are in the log."""
    until(lambda: set(ids) <= set(logged(name).request_id))
    return logged(name).set_index("request_id").loc[ids].reset_index()


def begin(client: httpx.Client, told: Release) -> None:
    """Change the release file, and return once the service goes by it."""
    release.write(told)
    until(lambda: client.get("/readyz").json()["plan"] == told.plan)


def test_a_shadow_is_logged_beside_the_champion_and_answers_nobody(
    client: httpx.Client, pair: tuple[str, str], records: pd.DataFrame
) -> None:
    told = Release(champion=pair[0], experiment=trying("shadow", pair[1]))
    begin(client, told)
    answers = client.post("/predict", json=json_of_frame(records.iloc[:50])).json()
    assert {each["bundle"] for each in answers} == {pair[0]}
    ids = [each["request_id"] for each in answers]
    shadows, predictions = table(events.SHADOWS, ids), table(events.PREDICTIONS, ids)
    assert shadows.champion_score.tolist() == predictions.score.tolist() == [each["score"] for each in answers]
    assert shadows.score.nunique() == 1, "the challenger is a constant"
    assert (shadows.score != shadows.champion_score).all()
    assert set(shadows.bundle) == {pair[1]}
    assert set(shadows.error) == {""}
    assert (set(predictions.plan), set(shadows.experiment)) == ({told.plan}, {"a-shadow"})


def test_a_canary_answers_its_entities_and_a_ramp_keeps_them_without_a_restart_or_a_lost_request(
    client: httpx.Client, pair: tuple[str, str], records: pd.DataFrame
) -> None:
    sent = json_of_frame(records.iloc[::7])
    named, before = entities(sent), set()
    lost: list[int] = []
    stop = threading.Event()

    def load() -> None:
        with httpx.Client(base_url=client.base_url, headers=NOON, timeout=30) as other:
            while not stop.is_set():
                if (status := other.post("/predict", json=sent[0]).status_code) != 200:
                    lost.append(status)

    loading = threading.Thread(target=load)
    loading.start()
    try:
        for percent in (20, 60):
            experiment = trying("canary", pair[1], percent)
            begin(client, Release(champion=pair[0], experiment=experiment))
            answers = client.post("/predict", json=sent).json()
            expected = Router(experiment, salt()).assign(named)
            assert [each["bundle"] for each in answers] == [pair[place] for place in expected]
            challenged = {entity for entity, place in zip(named, expected, strict=True) if place}
            assert before < challenged
            before = challenged
            logs = table(events.PREDICTIONS, [each["request_id"] for each in answers])
            assert logs.arm.tolist() == [["champion", "challenger"][place] for place in expected]
            assert logs.entity.tolist() == named.tolist()
            assert set(logs.fallback) == {""}
        begin(client, Release(champion=pair[1]))
        assert {each["bundle"] for each in client.post("/predict", json=sent).json()} == {pair[1]}
    finally:
        stop.set()
        loading.join()
    assert lost == []


@pytest.mark.parametrize(
    "content", ["champion: [", "champion: 12", f"champion: {'0' * 64}", ""], ids=["torn", "wrong", "not here", "empty"]
)
def test_a_release_that_cannot_be_taken_changes_nothing(client: httpx.Client, content: str) -> None:
    before = client.get("/readyz").json()["plan"]
    file = settings().release_file
    good = file.read_text()
    try:
        file.write_text(content)
        time.sleep(2.5)  # it looks each second
        assert client.get("/readyz").json()["plan"] == before
    finally:
        file.write_text(good)


class Failing:
    """A model that does what `score` does instead of scoring."""

    def __init__(self, score: Callable[..., Any]) -> None:
        self.score = score


@pytest.fixture
def answer(
    bundle: tuple[str, str], pair: tuple[str, str], records: pd.DataFrame, tmp_path: Path
) -> Iterator[Callable[..., pd.DataFrame]]:
    """Return what the log says of some records that plans answered, one plan after the other."""
    loaded = [record_type().model_validate(each, strict=False) for each in json_of_frame(records.iloc[:20])]
    with configured(ML_STORE_URL=tmp_path):
        log = EventLog(settings().spool, settings().events_url, 60)

        async def ask(plan: Plan) -> list[str]:
            predictor = Predictor(plan, Journal(log), Clock("wall"), connect(settings().online_url))
            return await Batching(predictor.serve).submit(loaded, time.perf_counter())

        def answered(*plans: Plan) -> pd.DataFrame:
            for plan in plans:
                assert len(asyncio.run(ask(plan))) == len(loaded)
            log.flush()
            return logged(events.PREDICTIONS).tail(len(loaded) * len(plans))

        yield answered
        log.close()


def plan(bundle: tuple[str, str], pair: tuple[str, str], mode: str) -> Plan:
    loaded = {digest: bundles.load(bundle[0], digest) for digest in pair}
    return Plan(Release(champion=pair[0], experiment=trying(mode, pair[1])), loaded)


def never(*_: Any) -> Any:
    threading.Event().wait()


def broken(*_: Any) -> Any:
    raise RuntimeError("no")


@pytest.mark.parametrize("how", [never, broken], ids=["hangs", "throws"])
def test_where_a_canary_fails_the_champion_answers(answer, bundle, pair, how) -> None:
    made = plan(bundle, pair, "canary")
    made.challengers[0]._model = Failing(how)
    log = answer(made)
    assert set(log.bundle) == {pair[0]}
    assert set(log.fallback) == {"champion"}
    assert set(log.arm) == {"challenger"}, "by assignment, whoever answered"


def test_where_a_shadow_hangs_everybody_is_answered_by_the_champion(answer, bundle, pair) -> None:
    made = plan(bundle, pair, "shadow")
    made.challengers[0]._model = Failing(never)
    for _ in range(3):
        log = answer(made)
        assert (set(log.bundle), set(log.fallback)) == ({pair[0]}, {""})


@pytest.mark.parametrize("how", [broken, lambda given: np.full(len(given.numbers), np.nan)], ids=["throws", "NaN"])
def test_where_even_the_champion_fails_a_constant_answers(answer, bundle, pair, how) -> None:
    made = plan(bundle, pair, "shadow")
    made.champion.__dict__["scorer"] = Failing(how)
    log = answer(made)
    assert set(log.fallback) == {"constant"}
    assert set(log.score) == {made.champion.manifest["fit"]["base"]}


def test_what_two_plans_answered_is_logged_together_and_each_row_under_its_own(answer, bundle, pair) -> None:
    first, second = plan(bundle, pair, "canary"), plan(bundle, pair[::-1], "canary")
    log = answer(first, second, first)
    each = len(log) // 3
    assert log.plan.tolist() == [first.name] * each + [second.name] * each + [first.name] * each
    assert log.bundle.tolist() == [pair[1]] * each + [pair[0]] * each + [pair[1]] * each
    assert log.request_id.nunique() == len(log)
