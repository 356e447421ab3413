"""The router: shares are right, entities stay, arms take nobody from each other, experiments are independent."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from ml.contract.release import Arm, Experiment, Release
from ml.serving.router import Router

DIGEST = "0" * 64
SALTS = [f"salt {number}".encode() for number in range(20)]


def experiment(name: str = "one", mode: str = "ab", **percents: float) -> Experiment:
    arms = {arm: Arm(bundle=DIGEST, percent=percent) for arm, percent in percents.items()}
    return Experiment(name=name, mode=mode, arms=arms)


def assigned(entities: list[str], salt: bytes = SALTS[0], name: str = "one", **percents: float) -> np.ndarray:
    return Router(experiment(name, **percents), salt).assign(entities)


def people(count: int) -> list[str]:
    return [f"entity {number}" for number in range(count)]


def shares_are_right(entities: list[str], salts: list[bytes]) -> None:
    for salt in salts:
        arms = assigned(entities, salt, a=5, b=30)
        for place, share in ((1, 0.05), (2, 0.30), (0, 0.65)):
            sigma = np.sqrt(share * (1 - share) / len(entities))
            assert abs((arms == place).mean() - share) < 4 * sigma, f"{salt!r}, arm {place}"


def experiments_are_independent(entities: list[str], salts: list[bytes]) -> None:
    """By salt, and by name, under one salt; some of many p-values are small by chance (Bonferroni)."""
    by_salt = [assigned(entities, salt, a=10, b=40) for salt in salts]
    by_name = [assigned(entities, salts[0], name=f"experiment-{number}", a=10, b=40) for number in range(len(salts))]
    found = []
    for tables in (by_salt, by_name):
        for one, other in combinations(tables, 2):
            table = np.bincount(3 * one + other, minlength=9).reshape(3, 3)
            found.append(stats.chi2_contingency(table).pvalue)
    assert min(found) > 0.001 / len(found)


def test_shares_are_right_and_experiments_independent() -> None:
    shares_are_right(people(30_000), SALTS[:4])
    experiments_are_independent(people(30_000), SALTS[:4])


@pytest.mark.slow
def test_shares_are_right_for_a_million_entities_and_twenty_salts() -> None:
    shares_are_right(people(1_000_000), SALTS)


@pytest.mark.slow
def test_experiments_are_independent_for_a_million_entities_and_twenty_salts() -> None:
    experiments_are_independent(people(1_000_000), SALTS)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 33), min_size=3, max_size=3), st.lists(st.floats(0, 33), min_size=3, max_size=3))
def test_an_arm_that_grows_keeps_who_was_in_it_and_takes_nobody_from_another(
    before: list[float], after: list[float]
) -> None:
    entities = people(400)
    one = assigned(entities, **dict(zip("abc", before, strict=True)))
    other = assigned(entities, **dict(zip("abc", after, strict=True)))
    for place, (was, became) in enumerate(zip(before, after, strict=True), start=1):
        smaller, larger = (one, other) if was <= became else (other, one)
        assert set(np.flatnonzero(smaller == place)) <= set(np.flatnonzero(larger == place))
    moved = (one != other) & (one != 0) & (other != 0)
    assert not moved.any(), "from one arm into another"


def test_an_entity_stays_where_it_is_in_every_process_and_release() -> None:
    assert assigned(people(12), a=50).tolist() == [0, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 1]


def test_another_salt_and_another_name_shuffle_everybody() -> None:
    entities = people(2000)
    one = assigned(entities, a=50)
    assert 0.4 < (one == assigned(entities, SALTS[1], a=50)).mean() < 0.6
    assert 0.4 < (one == assigned(entities, name="two", a=50)).mean() < 0.6


def test_who_has_no_entity_is_the_champions_and_so_is_everybody_at_nothing() -> None:
    assert assigned([None, "someone", None], a=100).tolist() == [0, 1, 0]
    assert not assigned(people(1000), a=0).any()


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ("champion is what the other arms leave", {"mode": "ab", "champion": 5}),
        ("a shadow has one arm", {"mode": "shadow", "a": 5, "b": 5}),
        ("b can have 50 % at most", {"mode": "ab", "a": 5, "b": 51}),
        ("less than or equal to 100", {"mode": "canary", "a": 101}),
        ("at least 1 item", {"mode": "canary"}),
    ],
)
def test_a_plan_that_cannot_be_is_refused(said: str, wrong: dict) -> None:
    with pytest.raises(ValidationError, match=said):
        experiment(**wrong)


def test_the_order_in_which_a_file_writes_arms_decides_nothing() -> None:
    one, other = experiment(a=30, b=10), experiment(b=10, a=30)
    assert Release(champion=DIGEST, experiment=one).plan == Release(champion=DIGEST, experiment=other).plan
    assert assigned(people(500), a=30, b=10).tolist() == assigned(people(500), b=10, a=30).tolist()


def test_a_plan_is_named_by_all_that_it_says() -> None:
    plans = [Release(champion=DIGEST), Release(champion="1" * 64)]
    plans += [Release(champion=DIGEST, experiment=experiment(a=percent)) for percent in (5, 20)]
    assert len({each.plan for each in plans}) == 4
    assert Release(champion=DIGEST, experiment=experiment(a=5)).plan == plans[2].plan
