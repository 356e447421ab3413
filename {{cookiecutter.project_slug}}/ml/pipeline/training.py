"""The training pipeline: run on this machine or compiled for a cluster by the same object.

On a cluster the image of the steps, by digest, is a parameter. Rungs of the ladder train side by side. What follows
from image, window and data alone is pure: not the first step, which looks at the data, nor the last two, which write.
"""

import functools
from typing import Any, Dict, List, NamedTuple  # noqa: UP035 - kfp reads Dict and List

from kfp import dsl

from ml.pipeline.placement import LARGE, SMALL, placed
from ml.pipeline.steps import evaluate, features, gate, ingest, plan, register, train, validate


class Outcome(NamedTuple):
    """What the pipeline returns: the bundle's digest and the gate's answer."""

    bundle: str
    answer: str


@dsl.pipeline(name="training")
def training(
    image: str,
    secret: str,
    environment: str,
    waivers: str,
    lake: str,
    since: str,
    until: str,
    as_of: str,
    store: str,
    champion: str,
    rungs: List[str],  # noqa: UP006
    seed: int,
    threads: int,
    trainjob: Dict[str, Any],  # noqa: UP006
) -> Outcome:
    """From raw partitions to a bundle and the gate's answer; what is no place and no image may be empty."""
    on = functools.partial(placed, image=image, secret=secret)
    run = dsl.PIPELINE_JOB_ID_PLACEHOLDER
    window = {"lake": lake, "since": since, "until": until}
    planned = on(plan(**window, as_of=as_of, image=image, run=run), size=SMALL).outputs
    since, until, data = (planned[name] for name in ("since", "until", "data"))
    records = on(ingest(lake=lake, since=since, until=until, data=data), pure=True).outputs["records"]
    report = on(validate(since=since, until=until, records=records), pure=True).outputs["report"]
    featured = on(features(records=records, report=report), pure=True).outputs
    table, leakage = featured["table"], featured["leakage"]
    with dsl.ParallelFor(rungs) as rung:
        fit = train(rung=rung, seed=seed, threads=threads, trainjob=trainjob, table=table)
        trained = on(fit, size=LARGE, pure=True)
    models = functools.partial(dsl.Collected, trained.outputs["model"])  # kfp marks each as it is used
    evaluation = on(evaluate(seed=seed, table=table, models=models()), pure=True).outputs["evaluation"]
    made = {"records": records, "report": report, "table": table, "leakage": leakage, "evaluation": evaluation}
    registered = on(register(store=store, models=models(), **made)).output
    judging = {"lake": lake, "store": store, "environment": environment, "waivers": waivers, "champion": champion}
    judged = on(gate(**judging, challenger=registered, since=since, until=until, run=run), size=LARGE)
    return Outcome(bundle=registered, answer=judged.outputs["Output"])
