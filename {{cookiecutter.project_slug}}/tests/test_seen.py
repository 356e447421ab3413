"""What was served, day by day: the same as all at once, whole where rows are counted drawn where they are ranked."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import configured
from holdout_worlds import BUNDLE, CHAMPION, CONSTANT, OUT, rule, world

from ml.contract.framing import framing
from ml.errors import ContractError
from ml.monitoring import seen
from ml.monitoring.arms import side_by_side
from ml.monitoring.daily import Daily
from ml.monitoring.holdout import honest
from ml.monitoring.seen import Seen
from ml.settings import settings
from ml.store import partitions


@pytest.fixture(params=["none", "positive"])
def hidden(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    told = framing().model_copy(update={"label": rule(request.param)})
    monkeypatch.setattr(seen, "framing", lambda: told)
    return str(request.param)


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[pd.DataFrame]:
    """Two labelled weeks in an environment; of the last three days, and of one before, no outcome is known."""
    found = world(7)
    found.loc[(found.day > "2013-04-11") | (found.day == "2013-04-05"), "outcome"] = np.nan
    with configured(ML_STORE_URL=tmp_path):
        for day, part in found.groupby("day"):
            partitions.write(settings().labels_url, pd.Timestamp(str(day)).date(), part)
        yield found


def same(one: Daily, other: Daily) -> bool:
    return all(np.array_equal(mine, its) for mine, its in zip(vars(one).values(), vars(other).values(), strict=True))


def test_days_one_by_one_are_what_all_rows_at_once_are(rows: pd.DataFrame, hidden: str) -> None:
    told, found = honest([rows], BUNDLE, OUT, rule(hidden)), seen.read(BUNDLE, OUT, None)
    at_once = Seen.of(told.of(rows.sort_values("day", kind="stable")))
    assert same(found.served, at_once.served)
    assert same(found.window, at_once.window)
    assert found.window.days[-1] == "2013-04-11"
    assert found.newest.days[-1] == "2013-04-14"
    assert found.newest.served.sum() == (rows.bundle == CHAMPION).sum(), "whoever judges, these are the champion's own"
    assert np.array_equal(found.drawn.scores, at_once.drawn.scores)


@pytest.mark.usefixtures("rows", "hidden")
def test_a_look_at_an_earlier_day_knows_nothing_of_later_ones() -> None:
    found = seen.read(BUNDLE, OUT, date(2013, 4, 8))
    assert found.window.days[-1] == found.newest.days[-1] == max(found.drawn.days) == "2013-04-08"


@pytest.mark.usefixtures("rows")
def test_of_many_rows_some_are_drawn_from_all_days_alike_and_all_are_counted(
    hidden: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = seen.read(BUNDLE, OUT, None)
    monkeypatch.setattr(seen, "DRAWN", 500)
    found = seen.read(BUNDLE, OUT, None)
    assert same(found.window, whole.window), "what signals are made of"
    assert len(found.drawn.scores) == pytest.approx(500, rel=0.2)
    shares = np.unique(found.drawn.days, return_counts=True)[1] / found.window.with_outcomes.matured
    assert shares.max() < 3 * shares.min()
    assert found.drawn.matured.all()
    assert np.array_equal(found.drawn.scores, seen.read(BUNDLE, OUT, None).drawn.scores), "the next look draws the same"


def test_arms_are_counted_whole_and_measured_by_rows_that_are_drawn(rows: pd.DataFrame) -> None:
    url, first, last = settings().labels_url, date(2013, 4, 1), date(2013, 4, 14)
    some, many = (list(side_by_side(url, first, last, most)) for most in (3000, len(rows)))
    assert [(each.arm, each.bundle) for each in some] == [("challenger", CONSTANT), ("champion", CHAMPION)]
    for one, other in zip(some, many, strict=True):
        own = rows[rows.arm == one.arm]
        assert (one.rows, one.matured) == (other.rows, other.matured) == (len(own), own.outcome.count())
    drawn, exact = some[1].performance["log_loss"], many[1].performance["log_loss"]
    assert drawn != exact
    assert drawn.value == pytest.approx(exact.value, rel=0.2)


def test_who_answered_alone_is_compared_with_nobody(rows: pd.DataFrame) -> None:
    for day, part in rows[rows.arm == "champion"].groupby("day"):
        partitions.write(settings().labels_url, pd.Timestamp(str(day)).date(), part)
    assert list(side_by_side(settings().labels_url, date.min, date.max, 100)) == []


def test_where_nothing_is_labelled_it_says_what_to_do(tmp_path: Path) -> None:
    with configured(ML_STORE_URL=tmp_path), pytest.raises(ContractError, match="ml label"):
        seen.read(BUNDLE, None, None)
