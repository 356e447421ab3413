"""The point-in-time join, and the only place that knows DuckDB: what was known of entities at given moments.

A value at a moment is made of the events that were *available* by then and that happened within the freshness limit.
An event enters its window when it becomes available, and leaves it when the window has passed on: sums of these comings
and goings, joined as of the moment, are the window's sums, in one pass and whatever the order in which events came.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml.features.definition import Columns, Feature, Window
from ml.features.fold import HOUR, TILES, Floats, Whole, in_tiles, of_last, of_sums, units, width
from ml.features.group import Group, entities

SUMS = """
    WITH changes AS (
        SELECT place, entity, available AS moment, 1 AS n, value FROM happened WHERE available < leaves
        UNION ALL
        SELECT place, entity, leaves, -1, -value FROM happened WHERE available < leaves
    ), at_once AS (
        SELECT place, entity, moment, sum(n) AS n, sum(value) AS value FROM changes GROUP BY ALL
    ), history AS (
        SELECT place, entity, moment, sum(n) OVER so_far AS count, sum(value) OVER so_far AS total
        FROM at_once WINDOW so_far AS (PARTITION BY place, entity ORDER BY moment)
    )
    SELECT asked.place, asked.row, history.count::BIGINT, history.total::BIGINT
    FROM asked ASOF JOIN history
    ON asked.place = history.place AND asked.entity = history.entity AND asked.moment >= history.moment
"""

LAST = """
    WITH watched AS (
        SELECT *, max(time) OVER (PARTITION BY place, entity ORDER BY available) AS newest FROM happened
    ), newest AS (
        SELECT place, entity, available AS moment, time, max(value) OVER so_far AS value
        FROM watched WHERE time = newest
        WINDOW so_far AS (PARTITION BY place, entity, time ORDER BY available)
    ), history AS (
        SELECT place, entity, moment, any_value(time) AS time, any_value(value) AS value FROM newest GROUP BY ALL
    )
    SELECT asked.place, asked.row, history.time, history.value
    FROM asked ASOF JOIN history
    ON asked.place = history.place AND asked.entity = history.entity AND asked.moment >= history.moment
"""


class Question(NamedTuple):
    """A feature, the records that ask for it, and what happened to it: row, entity, moment; entity, available, ..."""

    feature: Feature
    window: Window
    asked: pd.DataFrame
    happened: pd.DataFrame


class Asof:
    """An engine in this process's memory, for as many joins as are asked of it."""

    def __init__(self) -> None:
        self._engine = duckdb.connect(":memory:", config={"threads": 1})

    def join(self, records: Columns, at: Whole, events: Mapping[Group, Columns]) -> dict[str, Floats]:
        """Return the groups' features of records as of the moments `at` (seconds), each [n], NaN for unknown.

        The events of a group have a column a field and `available`, when each was known in seconds, in whose order they
        are. Of events with one id the first counts.
        """
        questions: list[Question] = []
        for group, told in events.items():
            known = _first_of_each(told)
            codes, _ = pd.factorize(np.concatenate([entities(group, records), entities(group, known)]))
            asked = pd.DataFrame({"row": np.arange(len(at)), "entity": codes[: len(at)], "moment": at})
            for feature in group.features:
                if window := feature.window:
                    happened = _happened(window, codes[len(at) :], known)
                    questions.append(Question(feature, window, asked[asked.entity >= 0], happened))
        sums, last = ([each for each in questions if in_tiles(each.window) == tiled] for tiled in (True, False))
        found = {each.feature.name: np.full(len(at), np.nan) for each in questions}
        for (feature, window, *_), row, count, total in self._answers(SUMS, sums):
            found[feature.name][row] = of_sums(window.how == "mean", count, total)
        for (feature, window, *_), row, time, value in self._answers(LAST, last):
            found[feature.name][row] = of_last(window.how == "age", window.hours * HOUR, time, value, at[row])
        return found

    def _answers(self, sql: str, questions: Sequence[Question]) -> Iterator[tuple[Question, Whole, Whole, Any]]:
        """Yield each question with the rows that have an answer, and the two columns of it."""
        if not questions:
            return
        for name in ("asked", "happened"):
            parts = [getattr(each, name).assign(place=place) for place, each in enumerate(questions)]
            self._engine.register(name, pd.concat(parts))
        places, *columns = map(np.asarray, self._engine.execute(sql).fetchnumpy().values())
        for place, question in enumerate(questions):
            row, one, two = (column[places == place] for column in columns)
            yield question, row, one, two


def _first_of_each(events: Columns) -> Columns:
    """Return each id once, as it first became available."""
    first = ~pd.Series(events["id"]).duplicated().to_numpy()
    return {name: values[first] for name, values in events.items()}


def _happened(window: Window, entity: NDArray[np.int64], events: Columns) -> pd.DataFrame:
    """Return what each event means to a feature, and when it enters and leaves the feature's window."""
    value, time = window.values(events), events["time"].astype("datetime64[s]").astype(np.int64)
    happened = pd.DataFrame({"entity": entity, "available": events["available"], "time": time, "value": value})
    happened = happened[~np.isnan(value) & (entity >= 0)]
    if in_tiles(window):
        leaves = (happened["time"] // width(window) + TILES) * width(window)
        return happened.assign(value=units(happened["value"].to_numpy()), leaves=leaves)
    return happened
