"""The verb: judge a challenger against the champion, and leave the verdict and its page."""

from collections.abc import Callable
from datetime import date

import numpy as np

from ml.contract import bundle as bundles
from ml.contract import ledger
from ml.contract.bundle import Bundle
from ml.contract.clock import Clock
from ml.contract.framing import fingerprint, framing
from ml.contract.verdict import FILE, PAGE, Check, Estimated, Side, Verdict, Window, folder, overall
from ml.gate import evidence, performance, running, trust, waivers
from ml.gate.case import Case, Judged, case
from ml.gate.report import render
from ml.progress import say, track
from ml.settings import settings
from ml.statistics.metrics import estimates
from ml.store import files

CHECKS: tuple[Callable[[Case], Check], ...] = (
    performance.primary,
    performance.better,
    performance.baseline,
    performance.frozen,
    performance.slices,
    trust.calibration,
    trust.churn,
    trust.behaviour,
    evidence.data,
    evidence.leakage,
    evidence.overlap,
    evidence.reproduction,
    evidence.provenance,
    running.cpu,
    running.size,
    running.memory,
)
NAMES = [check.__name__ for check in CHECKS]
FROZEN_USES, ATTEMPTS = "frozen-test-set", "gate"


def gate(
    lake: str,
    store: str,
    champion: str | None,
    challenger: str,
    until: date | None = None,
    better: bool = False,
) -> Verdict:
    """Judge a bundle; without a champion, against the simplest rung of its own ladder, which it has to beat.

    Writes verdict.json and gate.html below `verdicts` in the store. Raises ContractError for what is no verdict:
    a bundle that is absent or altered, days that the lake lacks.
    """
    waived = waivers.read(settings().waivers_file, NAMES)
    new = bundles.load(store, challenger)
    old = bundles.load(store, champion or new.baseline)
    simplest = new.manifest["baseline"]
    judged = case(lake, old, new, until, better, bundles.load(store, simplest) if simplest else None)
    checks = [check(judged) for check in track(asked(judged), "judging", total=len(asked(judged)))]
    now, pair = Clock("wall").now(), f"{new.digest}-{old.digest}"
    ledger.once(store, FROZEN_USES, new.digest, {"challenger": new.digest, "champion": old.digest})
    ledger.once(store, ATTEMPTS, f"{pair}-{now:%Y%m%dT%H%M%S%f}", {"until": str(judged.recent.rows.days.max())})
    checks = waivers.waived(checks, waived, now.date())
    verdict = Verdict(
        answer=overall(check.counts for check in checks),
        claim="better" if judged.better else "not worse",
        metric=framing().task.metric,
        alpha=framing().gate.alpha,
        power=framing().gate.power,
        judged_at=now,
        champion=_side(old, judged, "champion"),
        challenger=_side(new, judged, "challenger"),
        recent=_window(judged.recent),
        frozen=_window(judged.frozen),
        framing=fingerprint(),
        attempts=ledger.count(store, ATTEMPTS, pair),
        frozen_uses=ledger.count(store, FROZEN_USES),
        days_needed=max((each.days_needed or 0 for each in checks if each.counts != "pass"), default=0) or None,
        checks=checks,
    )
    home = folder(store, new.digest, old.digest)
    page = files.join(home, PAGE)
    files.write(files.join(home, FILE), verdict.model_dump_json(indent=1).encode())
    files.write(page, render(verdict).encode())
    say(
        "gate",
        f"{verdict.answer}: {new.rung} {new.digest[:12]}, claimed {verdict.claim}, against {old.rung} "
        f"{old.digest[:12]}; {len(checks)} checks; page in {page}",
    )
    return verdict


def asked(judged: Case) -> list[Callable[[Case], Check]]:
    """Return the checks that this case calls for, in the order in which they are read."""
    found = list(CHECKS)
    if not judged.better:
        found.remove(performance.better)
    if judged.first:  # it is judged against the simplest rung already, and every decision may change
        found = [check for check in found if check not in (performance.baseline, trust.churn)]
    return found


def _side(bundle: Bundle, judged: Case, side: str) -> Side:
    costs = framing().cost.costs

    def measured(on: Judged) -> dict[str, Estimated]:
        found = estimates(on.rows.outcomes, getattr(on, side), on.rows.days, costs)
        return {name: Estimated(**each._asdict()) for name, each in found.items()}

    return Side(bundle=bundle.digest, rung=bundle.rung, recent=measured(judged.recent), frozen=measured(judged.frozen))


def _window(judged: Judged) -> Window:
    days = np.unique(judged.rows.days)
    return Window(
        since=days[0],
        until=days[-1],
        days=len(days),
        rows=len(judged.rows.outcomes),
        positives=int(judged.rows.outcomes.sum()),
    )
