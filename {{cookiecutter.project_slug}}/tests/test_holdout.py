"""Where acting hides the outcome: where the truth is known, the holdout tells it, and the champion's rows do not."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from holdout_worlds import BUNDLE, CHAMPION, CONSTANT, DAYS, OUT, RISK, believed, rule, true, world

from ml.contract import bundle as bundles
from ml.contract.events import FEATURES, feature_columns
from ml.contract.release import Experiment
from ml.features.table import NUMBERS, columns_of_frame, inputs
from ml.monitoring import holdout
from ml.monitoring.holdout import honest
from ml.monitoring.observations import Observations
from ml.statistics.metrics import losses

STUDENT = 2.16  # t of 13 degrees of freedom, 95 %


def truth() -> dict[str, float]:
    """What holds for all rows, whatever is decided: log loss, and observed minus predicted rate."""
    risk = np.random.default_rng(0).standard_normal(1_000_000)
    happens, score = true(risk), believed(risk)
    loss = -(happens * np.log(score) + (1 - happens) * np.log(1 - score)).mean()
    return {"log_loss": float(loss), "rate": float((happens - score).mean())}


def within(rows: Observations, known: dict[str, float]) -> list[bool]:
    """Say whether the intervals over days of log loss and of observed minus predicted rate hold the truth."""
    seen = rows.where(rows.matured)
    measured = {
        "log_loss": losses(seen.outcomes, seen.scores)["log_loss"],
        "rate": seen.outcomes - seen.scores,
    }
    covers = []
    for name, values in measured.items():
        days = pd.Series(values).groupby(seen.days).mean()
        covers.append(bool(abs(days.mean() - known[name]) <= STUDENT * days.std() / np.sqrt(DAYS)))
    return covers


@pytest.mark.parametrize("hidden", ["positive", "negative"])
def test_the_holdout_covers_the_truth_that_the_champions_own_rows_miss(hidden: str) -> None:
    known, covered, naive = truth(), [], []
    for seed in range(25):
        rows = world(seed, hidden)
        found = honest([rows], BUNDLE, OUT, rule(hidden))
        assert found.reason == ""
        assert len(found.of(rows).scores) == (rows.arm == "challenger").sum()
        covered.append(within(found.of(rows), known))
        naive.append(within(honest([rows], BUNDLE, OUT, rule("none")).of(rows), known))
    assert np.mean(covered, axis=0).min() >= 0.8  # of 95 %, over 25 worlds
    assert np.max(naive) == 0


def test_the_champion_looks_well_on_what_it_let_happen_while_it_is_wrong_on_the_rest() -> None:
    rows = world(1)
    own, held = (
        honest([rows], BUNDLE, None, rule("positive")).of(rows),
        honest([rows], BUNDLE, OUT, rule("positive")).of(rows),
    )
    seen = own.where(own.matured)
    assert abs((seen.outcomes - seen.scores).mean()) < 0.01
    assert (held.outcomes - held.scores).mean() > 0.02


def test_held_out_rows_have_the_champions_score_and_not_the_one_they_were_decided_by() -> None:
    rows = world(2)
    found = honest([rows], BUNDLE, OUT, rule("positive")).of(rows)
    assert set(rows.score[rows.arm == "challenger"]) == {0.2}
    assert np.allclose(found.scores, believed(rows[FEATURES + RISK][rows.arm == "challenger"].to_numpy(float)))


def test_rows_that_the_champion_decided_or_was_fitted_on_are_no_holdout() -> None:
    rows = world(3)
    held = rows.arm == "challenger"
    rows.loc[held & (rows.day == "2013-04-02"), "fallback"] = "champion"
    rows.loc[held & (rows.day == "2013-04-03"), "day"] = "2013-03-31"
    days = set(honest([rows], BUNDLE, OUT, rule("positive")).of(rows).days)
    assert days == set(rows.day) - {"2013-04-02", "2013-04-03", "2013-03-31"}


def test_real_features_are_scored_from_the_log_as_they_were_when_they_were_served(
    bundle: tuple[str, str], records: pd.DataFrame
) -> None:
    champion, given = bundles.load(*bundle), inputs(columns_of_frame(records))
    scores = champion.scorer.score(given)
    rows = pd.DataFrame(feature_columns(given)).assign(day="2013-04-01", bundle=CONSTANT, score=0.2, decision=False)
    rows = rows.assign(outcome=0.0, delay_hours=24.0, fallback="", experiment="out", arm="challenger")
    assert np.abs(honest([rows], champion, OUT, rule("positive")).of(rows).scores - scores).max() < 1e-9


OTHERS = Experiment(name="out", mode="canary", arms=OUT.arms)
BIASED: dict[str, tuple[dict[str, Any], Experiment | None, str]] = {
    "nobody is held out": ({}, None, "the release holds nobody out"),
    "a canary is no holdout": ({}, OTHERS, "the release holds nobody out"),
    "another experiment's rows": ({}, OUT.model_copy(update={"name": "later"}), "later has none yet"),
    "it always acts": ({"holds": True}, OUT, "out has none yet"),
}


@pytest.mark.parametrize("case", BIASED)
def test_without_an_honest_holdout_the_champions_rows_are_given_and_called_biased(case: str) -> None:
    more, tried, reason = BIASED[case]
    rows = world(4, **more)
    found = honest([rows], BUNDLE, tried, rule("positive"))
    assert reason in found.reason
    assert len(found.of(rows).scores) == (rows.bundle == CHAMPION).sum()


@pytest.mark.parametrize(("hidden", "never"), [("positive", "never to act"), ("negative", "always to act")])
def test_an_arm_that_hides_some_outcomes_itself_is_biased_too_and_is_told_how_to_mend(hidden: str, never: str) -> None:
    rows = world(5, hidden)
    hides = rows.index[rows.arm == "challenger"][:7]
    rows.loc[hides, "decision"] = hidden == "positive"
    reason = honest([rows], BUNDLE, OUT, rule(hidden)).reason
    assert f"in out 7 of {(rows.arm == 'challenger').sum():,} decisions hide their outcome" in reason
    assert reason.endswith(f"hold out by a bundle that decides {never}")


@pytest.fixture
def personal(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A feature that the log does not hold as it was."""
    monkeypatch.setattr(holdout, "PERSONAL", {NUMBERS[0].field: "drop"})
    return RISK


def test_what_the_log_does_not_hold_cannot_be_scored_again(personal: str) -> None:
    assert f"the log holds {personal} of no person" in honest([world(6)], BUNDLE, OUT, rule("positive")).reason
