"""Verdicts for promotions, made by hand: of the gate and of experiments, on bundles that nobody has trained."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from ml.contract.release import CHAMPION, Arm, Experiment, Mode, Release
from ml.contract.verdict import Check, Verdict, Waiver, Window
from ml.contract.verdict import Side as Judged
from ml.delivery.release import CHALLENGER
from ml.experiment.verdict import CLAIMS, Side
from ml.experiment.verdict import Verdict as Analysis
from ml.promotion.case import name_of
from ml.statistics.inference import Answer

OLD, NEW, OTHER = "c" * 64, "a" * 64, "b" * 64
IMAGE, LATER = (f"registry.example.org/team/project-serving@sha256:{digit * 64}" for digit in "12")
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
FRAMING = "f" * 64


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def trying(mode: Mode = "shadow", percent: float = 100, bundle: str = NEW, **more: Any) -> Release:
    """Return a release that tries a bundle out as a promotion does."""
    shown = percent if mode == "canary" else None
    arms = {CHALLENGER: Arm(bundle=bundle, percent=percent)}
    experiment = Experiment(name=name_of(mode, bundle, OLD, shown), mode=mode, arms=arms)
    return Release(champion=OLD, experiment=experiment, **more)


def gate(
    answer: Answer = "pass", challenger: str = NEW, champion: str = OLD, waived_until: date | None = None, **more: Any
) -> Verdict:
    """Return what the gate says of a challenger."""
    waiver = Waiver(check="primary", owner="Ada", reason="None.", expires=waived_until) if waived_until else None
    check = Check(name="primary", question="Is it?", answer=answer, said="it is", waiver=waiver)
    window = Window(since=date(2026, 10, 1), until=date(2026, 10, 21), days=21, rows=9000, positives=900)
    sides = {
        name: Judged(bundle=digest, rung="logistic", recent={}, frozen={})
        for name, digest in (("champion", champion), ("challenger", challenger))
    }
    told = dict(claim="better", metric="log_loss", alpha=0.05, power=0.8, judged_at=ago(1), framing=FRAMING)
    told |= dict(recent=window, frozen=window, attempts=1, frozen_uses=1, checks=[check], answer=answer)
    return Verdict.model_validate(told | sides | more)


def analysis(of: Release, answer: Answer = "pass", **more: Any) -> Analysis:
    """Return what was shown by the experiment of a release."""
    assert of.experiment is not None
    bundles = {CHAMPION: of.champion} | {name: arm.bundle for name, arm in of.experiment.arms.items()}
    sides = [
        Side(arm=arm, bundles=[digest], entities=500, requests=900, labelled=800, cost=400.0, loss=0.3, p50_ms=2.0,
             p99_ms=9.0, fallbacks=0.0)
        for arm, digest in bundles.items()
    ]  # fmt: skip
    split = Check(name="split", question="Is it?", answer="pass", said="it is")
    told = dict(verdict=answer, reasons=["it is"], name=of.experiment.name, mode=of.experiment.mode)
    told |= dict(
        plan=of.plan, claim=CLAIMS[of.experiment.mode], judged_at=ago(1), since="2026-11-14", until="2026-11-20"
    )
    told |= dict(days=7, alpha=0.05, framing=FRAMING, arms=sides, split=[split], comparisons=[], notes=[])
    return Analysis.model_validate(told | more)
