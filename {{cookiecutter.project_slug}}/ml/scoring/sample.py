"""Great Expectations on a sample of what will be scored, before anything is."""

import numpy as np

from ml.checks import suite
from ml.errors import ContractError
from ml.scoring.plan import Plan
from ml.scoring.reading import Chunk, chunks, frame_of

DAYS, ROWS = 7, 300  # of the sample: days at equal distance, and of each so many records of its first part
SEED = 0


def refuse_broken_sample(plan: Plan) -> int:
    """Ask the rules of the schema of some records and return how many; raises ContractError for what they break."""
    days = [day for day in sorted(plan.days) if plan.days[day].rows]
    chosen = sorted({days[place] for place in np.linspace(0, len(days) - 1, DAYS).astype(int)}) if days else []
    chance = np.random.default_rng(SEED)
    samples: Chunk = []
    for part in [part for part in plan.parts(chosen) if not part.number]:
        ((_, table),) = next(chunks(plan, [part]))
        samples.append((part, table.take(np.sort(chance.permutation(part.rows)[:ROWS]))))
    if not samples:
        raise ContractError("data", f"{plan.records} has no records on these days", "Give --from, --since and --until")
    frame = frame_of(samples)
    found = suite.check(frame, suite.of_records())
    if found.broken:
        said = f"of a sample of {len(frame):,} records: {'; '.join(found.broken)}"
        raise ContractError("data", said, "See the partitions, or ml/problem/schema.py")
    return len(frame)
