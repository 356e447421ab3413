"""What all checks say together, how often good challengers pass, and what whoever counts rows would claim."""

import numpy as np
import pytest
from gate_worlds import (
    STATISTICAL,
    Pair,
    World,
    at_every_limit,
    below_the_limit,
    claims,
    honest,
    moody,
    noisy,
    odds,
    run,
    worse,
)

from ml.contract.framing import framing
from ml.gate import performance
from ml.statistics.inference import days_needed, power

pytestmark = pytest.mark.slow

PAIRS = 2000
GATE, WINDOW = framing().gate, framing().time.test_days
POWER = below_the_limit()


def error(share: float) -> float:
    """Return 2.5 binomial standard errors of a share."""
    return float(2.5 * np.sqrt(share * (1 - share) / PAIRS))


def test_all_checks_together_accept_no_more_often_than_one() -> None:
    """Intersection-union: at the limit of one check, or of all of them, all together pass at most as often."""
    of_one = run(World(worse(noisy, GATE.margin), Pair(honest, honest)), STATISTICAL, PAIRS)
    assert 0.01 < of_one.share("pass") <= GATE.alpha + error(GATE.alpha)  # not because another check never passes
    assert of_one.share("pass") <= of_one.share("pass", "primary")
    of_all = run(at_every_limit(), STATISTICAL, PAIRS)
    assert of_all.share("pass") <= GATE.alpha + error(GATE.alpha)
    assert of_all.share("pass") <= min(of_all.share("pass", check.__name__) for check in STATISTICAL)


@pytest.mark.parametrize("case", POWER)
def test_power_is_as_promised(case: str) -> None:
    """The formula knows only the spread: where a few days carry it, most windows lack them and pass more often."""
    world, distance = POWER[case]
    found = run(world(), [performance.primary], PAIRS)
    spread = found.values["primary"].std() * np.sqrt(WINDOW)
    above = found.share("pass") - power(spread, distance, WINDOW, GATE.tail)
    assert -0.08 <= above <= (0.15 if case == "equal, noise a day" else 0.08)
    assert found.share("fail") < 0.01


def test_as_many_days_as_are_asked_for_decide_and_fewer_leave_it_open() -> None:
    world = POWER["equal, noise a row"][0]()
    spread = run(world, [performance.primary], PAIRS).values["primary"].std() * np.sqrt(WINDOW)
    needed = days_needed(spread, GATE.margin, GATE.tail, GATE.power)
    assert needed is not None
    assert needed > 1.5 * GATE.days
    early = run(world, [performance.primary], PAIRS, days=needed // 2, seed=2)
    assert early.share("pass") < GATE.power - 0.2
    assert early.share("inconclusive") > 0.98 * (1 - early.share("pass"))
    asked = run(world, [performance.primary], PAIRS, days=needed, seed=3)
    assert GATE.power - 0.06 <= asked.share("pass") <= GATE.power + 0.06


def test_with_too_few_days_everything_is_open() -> None:
    """Models that differ by nothing, and by far too much."""
    for pair in (Pair(honest, noisy(0.1)), Pair(honest, noisy(1))):
        found = run(World(pair, pair), [*STATISTICAL, performance.better], 200, days=GATE.days - 1)
        assert all(set(answers) == {"inconclusive"} for answers in found.answers.values()), found.answers


def test_far_better_models_pass_and_far_worse_ones_fail() -> None:
    better = run(World(Pair(noisy(1), honest)), [performance.primary, performance.better], 200)
    assert better.share("pass") == 1
    far = run(World(Pair(honest, noisy(1.2))), [performance.primary, performance.slices], 200)
    assert far.share("fail") == 1
    shifted = run(World(Pair(honest, odds(2.5))), [*STATISTICAL[:1], *STATISTICAL[2:]], 200)
    assert shifted.share("fail") == 1


def test_delong_claims_what_is_not_so_and_days_do_not() -> None:
    """Two models, each misled by a noise of the day, equally good: whoever counts rows finds one of them better."""
    found = claims(Pair(moody(0.3, 0), moody(0.3, 1)), PAIRS)
    assert found["DeLong, ROC-AUC"] > 4 * GATE.alpha
    assert found["t-test of rows, log loss"] > 4 * GATE.alpha
    for judge in ("days, ROC-AUC", "days, log loss"):
        assert found[judge] <= GATE.alpha + error(GATE.alpha)
    calm = claims(Pair(noisy(0.3, 0), noisy(0.3, 1)), PAIRS, swing=0)
    assert calm["DeLong, ROC-AUC"] == pytest.approx(GATE.tail, abs=error(GATE.tail))  # right where days are nothing
