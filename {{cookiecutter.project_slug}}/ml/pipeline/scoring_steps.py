"""The pipeline of batch scoring: one plan, shards of its days scored side by side, then one switch.

The run's name goes from step to step as a file: Kubeflow's local runner gives the steps of a loop its item in place of
every parameter that an earlier step returns.
"""

import functools
from typing import List  # noqa: UP035 - kfp reads List

from kfp import dsl
from kfp.dsl import Artifact, Input, Output

from ml.pipeline.placement import placed
from ml.pipeline.steps import step

VERBS = ("plan", "score", "publish")


@step
def plan(
    bundle: str,
    records: str,
    lake: str,
    scores: str,
    since: str,
    until: str,
    as_of: str,
    chunk_rows: int,
    run: Output[Artifact],
) -> None:
    """Look at the partitions and a sample of their records, and name the run; `as_of` may be empty."""
    from datetime import date
    from pathlib import Path

    from ml.contract.clock import parse
    from ml.scoring.run import Asked, plan

    days = date.fromisoformat(since), date.fromisoformat(until)
    asked = Asked(bundle, records, lake, scores, *days, parse(as_of) if as_of else None, chunk_rows)
    Path(run.path).write_text(plan(asked))


@step
def score(store: str, scores: str, shard: str, run: Input[Artifact]) -> int:
    """Score the days of one shard, such as 0/3, and return how many records these are."""
    from pathlib import Path

    from ml.scoring.run import score

    number, of = map(int, shard.split("/"))
    return score(Path(run.path).read_text(), store, scores, (number, of))


@step
def publish(scores: str, online: str, ttl_hours: float, scored: List[int], run: Input[Artifact]) -> None:  # noqa: UP006
    """Put all scores into the online store and switch to them, once every shard is scored."""
    from pathlib import Path

    from ml.scoring.run import publish

    publish(Path(run.path).read_text(), scores, online, ttl_hours)


@dsl.pipeline(name="scoring")
def scoring(
    image: str,
    secret: str,
    bundle: str,
    records: str,
    lake: str,
    store: str,
    scores: str,
    online: str,
    since: str,
    until: str,
    as_of: str,
    chunk_rows: int,
    ttl_hours: float,
    shards: List[str],  # noqa: UP006
) -> None:
    """From partitions of records to scores in files and in the online store; no step is pure."""
    on = functools.partial(placed, image=image, secret=secret)
    asked = {"bundle": bundle, "records": records, "lake": lake, "scores": scores, "since": since, "until": until}
    run = on(plan(**asked, as_of=as_of, chunk_rows=chunk_rows)).outputs["run"]
    with dsl.ParallelFor(shards) as shard:
        scored = on(score(run=run, store=store, scores=scores, shard=shard))
    done = dsl.Collected(scored.outputs["Output"])
    on(publish(run=run, scores=scores, online=online, ttl_hours=ttl_hours, scored=done))
