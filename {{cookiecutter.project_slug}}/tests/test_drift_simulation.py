"""The monitor errs as seldom as it says, sees what it promises to see, and tells moved inputs from a moved relation."""

import numpy as np
import pytest
from drift_worlds import VARIABLES, WORLDS, look, relevant_shift, served

from ml.contract.framing import framing

pytestmark = pytest.mark.slow

LOOKS = 150
RATE = framing().alarm.false_alarm_rate
# A share that is RATE in truth is found above this once in a thousand runs.
FEW = int(LOOKS * RATE + 3.5 * np.sqrt(LOOKS * RATE))


@pytest.mark.parametrize("world", WORLDS)
def test_a_window_without_a_shift_seldom_drifts(world: str) -> None:
    drifted = [look(WORLDS[world], 14, 14 * 900, seed) for seed in range(LOOKS)]
    assert sum(any(each.answer == "drift" for each in found) for found in drifted) <= FEW


@pytest.mark.parametrize("rows", [100, 10_000, 1_000_000])
def test_a_relevant_shift_is_seen_as_often_as_promised_or_the_answer_is_inconclusive(rows: int) -> None:
    found = [look(WORLDS["days differ"], 14, rows, seed, relevant_shift())[0] for seed in range(30)]
    seen = np.mean([each.answer == "drift" for each in found])
    promised = np.mean([each.power for each in found])
    assert seen >= promised - 0.15
    if promised < framing().alarm.power:
        assert not any(each.answer == "none" for each in found), "silence would be a claim"
    else:
        assert seen > 0.8


def test_a_fixed_limit_cries_wolf_where_rows_are_few() -> None:
    """A PSI above 0.1, as so many do it, beside ours."""
    few = [look(WORLDS["days differ"], 14, 100, seed) for seed in range(30)]
    assert np.mean([any(each.psi > 0.1 for each in found) for found in few]) > 0.5
    assert not any(each.answer == "drift" for found in few for each in found)


def test_one_shifted_variable_is_named_and_the_others_are_not() -> None:
    found = [look(WORLDS["days differ"], 14, 14 * 900, seed, 2 * relevant_shift()) for seed in range(20)]
    assert all(drifts[0].answer == "drift" for drifts in found)
    others = [each.answer == "drift" for drifts in found for each in drifts[1:]]
    assert len(others) == 20 * (len(VARIABLES) - 1)
    assert sum(others) <= 2


def alarms(name: str, looks: int, **changed: float) -> float:
    found = [next(each for each in served(seed, **changed).signals if each.name == name) for seed in range(looks)]
    return float(np.mean([each.alarms for each in found]))


def test_without_any_change_the_signals_are_quiet() -> None:
    found = [served(seed) for seed in range(40)]
    assert sum(any(each.alarms for each in one.signals) for one in found) <= 3
    assert sum(one.expected.worse for one in found) <= 3


def test_moved_inputs_alone_raise_no_alarm_but_the_estimate_says_that_the_loss_will_grow() -> None:
    found = [served(seed, shift=0.8) for seed in range(40)]
    assert sum(any(each.alarms for each in one.signals) for one in found) <= 4
    assert np.mean([one.expected.worse for one in found]) > 0.95


def test_a_moved_relation_raises_the_alarm_though_no_input_moved() -> None:
    assert alarms("slope", 30, slope=0.7) > 0.9
    assert alarms("rate", 30, base=0.6) > 0.9
    assert alarms("loss", 30, base=0.6) > 0.9
    assert not any(served(seed, base=0.6).expected.worse for seed in range(5)), "no score can know it"
