"""Windowed features: the point-in-time join, the fold and the store's readers agree with a brute-force oracle."""

from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field
from sklearn.metrics import roc_auc_score

from ml.errors import ContractError
from ml.features.asof import Asof
from ml.features.definition import Columns, Event, Feature, column, windowed
from ml.features.fold import HOUR, NEVER
from ml.features.group import Group, Update, entities, groups_of, updates


class Purchase(Event):
    """Somebody bought something."""

    customer: str | None
    shop: Annotated[int, Field(ge=0, le=9)]
    amount: Annotated[float | None, Field(ge=-1000, le=1000)] = None


def dear(purchases: Columns) -> Any:
    return purchases["amount"] > 100


def feature(name: str, **more: Any) -> Feature:
    return windowed(name, "A sentence.", events=Purchase, **{"entity": "customer", "value": "amount", **more})


FEATURES = (
    feature("mean_1h", how="mean", hours=1),
    feature("mean_5h", how="mean", hours=5),
    feature("count_2h", how="count", hours=2),
    feature("dear_3h", how="mean", hours=3, value=dear),
    feature("last_2h", how="last", hours=2),
    feature("age_4h", how="age", hours=4, value=None),
    feature("shop_mean_2h", how="mean", hours=2, entity=("customer", "shop")),
)
GROUPS = groups_of(FEATURES)
NOW = 1_700_000_000
ENGINE = Asof()

times = st.integers(0, 8 * HOUR).map(lambda ago: NOW - ago)
amounts = st.none() | st.floats(-1000, 1000, allow_nan=False)
purchases = st.fixed_dictionaries(
    {
        "id": st.integers(0, 30).map(str),
        "time": times,
        "delay": st.sampled_from([0, 1, 300, 3600, 7 * HOUR]),
        "customer": st.sampled_from(["a", "b", None]),
        "shop": st.integers(0, 1),
        "amount": amounts,
    }
)
asked = st.fixed_dictionaries(
    {"customer": st.sampled_from(["a", "b", "c", None]), "shop": st.integers(0, 1), "at": times}
)


def once(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return events in the order in which they became available, the first of each id alone."""
    found: dict[str, dict[str, Any]] = {}
    for each in sorted(told, key=lambda event: event["time"] + event["delay"]):
        found.setdefault(each["id"], each)
    return list(found.values())


def columns_of(told: list[dict[str, Any]]) -> Columns:
    """Return events, or records, as columns."""
    return {
        "id": np.array([each.get("id") for each in told], dtype=object),
        "time": np.array([each.get("time", 0) for each in told], dtype="datetime64[s]"),
        "available": np.array([each.get("time", 0) + each.get("delay", 0) for each in told], dtype=np.int64),
        "customer": np.array([each["customer"] for each in told], dtype=object),
        "shop": np.array([each["shop"] for each in told], dtype=np.float64),
        "amount": np.array(
            [np.nan if each.get("amount") is None else each["amount"] for each in told], dtype=np.float64
        ),
    }


def oracle(feature: Feature, record: dict[str, Any], told: list[dict[str, Any]]) -> float:
    """Return a feature by its definition, looking at every event."""
    window, at = feature.window, record["at"]
    known = [
        (each["time"], value)
        for each in told
        if all(each[field] == record[field] is not None for field in window.entity)
        and each["time"] + each["delay"] <= at
        and not np.isnan(value := float(window.values(columns_of([each]))[0]))
    ]
    if window.how in ("mean", "count"):
        tile = window.hours * 300  # seconds: a twelfth of the window
        values = [value for time, value in known if at // tile - time // tile < 12]
        if not values:
            return np.nan
        return float(np.mean(values)) if window.how == "mean" else len(values)
    time, value = max(known, default=(NEVER, 0))
    if at - time >= window.hours * HOUR:
        return np.nan
    return value if window.how == "last" else (at - time) / HOUR


@settings(deadline=None, max_examples=80)
@given(st.lists(purchases, max_size=25), st.lists(asked, min_size=1, max_size=8))
def test_the_point_in_time_join_is_what_looking_at_every_event_gives(told: Any, records: Any) -> None:
    told = once(told)
    at = np.array([each["at"] for each in records])
    found = ENGINE.join(columns_of(records), at, dict.fromkeys(GROUPS, columns_of(told)))
    for feature in FEATURES:
        expected = [oracle(feature, record, told) for record in records]
        np.testing.assert_allclose(found[feature.name], expected, rtol=0, atol=1e-6, err_msg=feature.name)


@pytest.mark.parametrize(
    ("known_after", "auc"), [(10 * HOUR, 0.5), (-1, 1.0)], ids=["poison", "if it were known in time"]
)
def test_a_perfect_feature_from_the_future_raises_no_metric(known_after: int, auc: float) -> None:
    """An event says the outcome, and happened before the prediction, but was known only later: no join may see it."""
    chance = np.random.default_rng(0)
    outcomes, at = chance.integers(0, 2, 500), NOW + chance.integers(0, 8 * HOUR, 500)
    customers = np.array([f"c{place}" for place in range(500)], dtype=object)
    told = {
        "id": customers,
        "time": (at - HOUR).astype("datetime64[s]"),
        "available": at + known_after,
        "customer": customers,
        "shop": np.zeros(500),
        "amount": 100.0 * outcomes + chance.normal(size=500),
    }
    found = ENGINE.join({"customer": customers, "shop": np.zeros(500)}, at, {GROUPS[0]: told})
    for name in ("mean_5h", "last_2h"):
        assert roc_auc_score(outcomes, np.nan_to_num(found[name])) == pytest.approx(auc, abs=0.01)


def folded(group: Group, changes: list[tuple[str, Update]], batch: int) -> dict[str, bytes]:
    """Return the states of entities after updates that came in batches."""
    states: dict[str, bytes] = {}
    seen: dict[str, bytes] = {}
    for start in range(0, len(changes), batch):
        for entity in {entity for entity, _ in changes[start : start + batch]}:
            own = [update for name, update in changes[start : start + batch] if name == entity]
            after = group.update(states.get(entity), seen.get(entity), own)
            states[entity], seen[entity] = after.state, after.seen
    return states


@settings(deadline=None, max_examples=80)
@given(st.lists(purchases, max_size=25), st.lists(asked, min_size=1, max_size=4), st.integers(1, 7), st.data())
def test_the_stream_and_the_point_in_time_join_give_the_same_bits(
    told: Any, records: Any, batch: int, data: Any
) -> None:
    told = once(told)
    for record in records:
        available = [each for each in told if each["time"] + each["delay"] <= record["at"]]
        again = available + data.draw(st.lists(st.sampled_from(available), max_size=5) if available else st.just([]))
        shuffled = data.draw(st.permutations(again))
        at = np.array([record["at"]])
        for group in GROUPS:
            states = folded(group, updates(group, columns_of(shuffled)), batch)
            entity = (
                None
                if None in [record[field] for field in group.entity]
                else updates(group, columns_of([{**record, "id": "", "time": 0}]))
            )
            name = entity[0][0] if entity else ""
            online, _ = group.read([states.get(name)], at)
            offline = ENGINE.join(columns_of([record]), at, {group: columns_of(told)})
            for each in group.features:
                np.testing.assert_array_equal(online[each.name], offline[each.name], err_msg=each.name)


def test_no_state_grows_with_the_events_and_ids_are_forgotten_once_their_events_are_late() -> None:
    (group, *_), states, seen = GROUPS, None, None
    sizes = set()
    for hour in range(50):
        own = [Update(f"{hour}-{place}", NOW + hour * HOUR + place, (1.0,) * 6) for place in range(20)]
        after = group.update(states, seen, own)
        states, seen = after.state, after.seen
        sizes.add(len(states))
        assert after.folded == 20
    assert len(sizes) == 1
    assert len(seen) <= 20 * (group.horizon // HOUR + 1) * 16


def test_what_is_late_is_counted_and_changes_nothing() -> None:
    (group, *_) = GROUPS
    before = group.update(None, None, [Update("new", NOW, (1.0,) * 6)])
    after = group.update(before.state, before.seen, [Update("old", NOW - group.horizon, (9.0,) * 6)])
    assert (after.folded, after.duplicate, after.late) == (0, 0, 1)
    assert (after.state, after.seen) == (before.state, before.seen)


def test_another_definition_never_reads_the_states_of_this_one() -> None:
    def cheap(purchases: Columns) -> Any:
        return purchases["amount"] < 10

    one = groups_of([feature("share", how="mean", hours=3, value=dear)])[0]
    others = [
        feature("share", how="mean", hours=3, value=cheap),
        feature("share", how="mean", hours=4, value=dear),
        feature("share", how="last", hours=3, value=dear),
    ]
    keys = {one.key("a"), *(groups_of([other])[0].key("a") for other in others)}
    assert len(keys) == 4
    assert groups_of([feature("share", how="mean", hours=3, value=dear), column("x", "number", "")])[0].key(
        "a"
    ) == one.key("a")


def test_a_window_of_one_hour_holds_the_events_of_one_hour() -> None:
    (group,) = groups_of([feature("count_1h", how="count", hours=1), feature("mean_1h", how="mean", hours=1)])
    noon = 1_700_006_400 // 3600 * 3600
    ago = {"11:00": 3600, "11:06": 3240, "11:59": 60}
    state = group.update(None, None, [Update(name, noon - ago[name], (1.0, float(ago[name]))) for name in ago]).state

    def at(minutes: int) -> list[float]:
        found, _ = group.read([state], np.array([noon + 60 * minutes]))
        return [found["count_1h"][0], found["mean_1h"][0]]

    assert at(-1) == [3, (3600 + 3240 + 60) / 3]
    assert at(4) == [2, (3240 + 60) / 2]
    assert at(10) == [1, 60]
    np.testing.assert_array_equal(at(60), [np.nan, np.nan])


def test_a_store_that_is_ahead_tells_nothing_of_what_happened_later() -> None:
    (group, *_) = GROUPS
    early = group.update(None, None, [Update("early", NOW - 7200, (1.0,) * 6)])
    state = group.update(early.state, early.seen, [Update("later", NOW + 7200, (9.0,) * 6)]).state
    found, as_of = group.read([state], np.array([NOW]))
    assert not any((values == 9).any() for values in found.values())
    assert as_of[0] == NOW + 7200


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"how": "sum", "hours": 1}, "folds by 'sum'"),
        ({"how": "mean", "hours": 0}, "over 0 hours"),
        ({"how": "mean", "hours": 0.5}, "over 0.5 hours"),
    ],
)
def test_a_fold_that_there_is_not_is_refused_by_name(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ContractError, match=said):
        feature("strange", **more)


def test_nothing_counted_is_none_and_not_unknown() -> None:
    compute = feature("bought", how="count", hours=1).compute
    assert compute({"bought": np.array([np.nan, 2.0])}).tolist() == [0.0, 2.0]


def test_entities_of_two_fields_are_never_taken_for_another() -> None:
    (group,) = groups_of([feature("both", how="count", hours=1, entity=("customer", "shop"))])
    names = entities(group, {"customer": np.array(["a|1", "a", None]), "shop": np.array(["2", "1|2", "1"])})
    assert len(set(names.tolist())) == 3
    assert names[2] is None


LIMIT = 100


def test_a_constant_that_a_function_names_is_part_of_its_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    def dearer(purchases: Columns) -> Any:
        return purchases["amount"] > LIMIT

    before = groups_of([feature("share", how="mean", hours=3, value=dearer)])[0].version
    monkeypatch.setitem(globals(), "LIMIT", 200)
    assert groups_of([feature("share", how="mean", hours=3, value=dearer)])[0].version != before
    with pytest.raises(ContractError, match="no function whose text is known"):
        _ = groups_of([feature("share", how="mean", hours=3, value=np.log1p)])[0].version


def test_a_value_that_a_sum_cannot_hold_is_refused_by_name() -> None:
    (group, *_) = GROUPS
    with pytest.raises(ContractError, match="too large for a sum"):
        group.update(None, None, [Update("1", NOW, (1e15,) * 6)])
