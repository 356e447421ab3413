"""Was the split kept? A broken one fails everything: arms then differ by more than their models."""

from ml.contract.release import CHAMPION
from ml.contract.verdict import Check
from ml.experiment.checks import fact
from ml.experiment.served import Served
from ml.pages.words import percent
from ml.statistics.split import sample_ratio

BROKEN = 0.001  # p-value from which a mismatch is no chance; the customary level (Fabijan et al. 2019)


def ratio(found: Served, shares: dict[str, float]) -> Check:
    """Entities, which are what is assigned, come in the planned shares."""
    question = "Are the arms as large as planned, in entities?"
    counts = {str(arm): int(count) for arm, count in found.rows.groupby("arm").entity.nunique().items()}
    p_value = sample_ratio(counts, shares)
    whole = sum(counts.values())
    seen = "; ".join(
        f"{arm} {percent(counts.get(arm, 0) / whole)} of {percent(shares.get(arm, 0) / 100)} planned"
        for arm in (CHAMPION, *sorted((counts.keys() | shares.keys()) - {CHAMPION}))
    )
    if p_value is None:
        return Check(name="split", question=question, answer="inconclusive", said=f"too early to say: {seen}")
    said = f"{seen} (p = {p_value:.2g})"
    broken = f"the split is broken, trust nothing: {said}" if p_value < BROKEN else None
    return fact("split", question, broken, said, **counts)


def crossed(found: Served) -> Check:
    """No entity is in two arms."""
    arms = found.rows.groupby("entity").arm.nunique()
    both = int((arms > 1).sum())
    broken = f"the split is broken, trust nothing: {both:,} of {len(arms):,} entities were in two arms"
    fine = f"each of {len(arms):,} entities was in one"
    return fact("crossed", "Was every entity in one arm only?", broken if both else None, fine, crossed=both)
