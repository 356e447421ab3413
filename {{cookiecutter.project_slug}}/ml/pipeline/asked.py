"""What the pipelines are asked with: the settings, as parameters of their runs."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from ml.contract import release
from ml.pipeline.trainjob import trainjob
from ml.scoring.run import Asked
from ml.settings import settings

HERE = "python"  # stands for an image where there is none


def training(
    window: Sequence[date] | None, as_of: str = "", image: str = HERE, *, on_cluster: bool = False
) -> dict[str, Any]:
    """Return the parameters of the training pipeline, for a window or for what has matured as of a moment.

    TrainJobs take the place of steps on a cluster alone.
    """
    conf = settings()
    since, until = map(str, window or ("", ""))
    waivers = conf.waivers_file
    return {
        "image": image,
        "secret": conf.kubeflow.secret,
        "environment": conf.release.environment,
        "waivers": waivers.read_text() if waivers.exists() else "",
        "lake": conf.lake_url,
        "since": since,
        "until": until,
        "as_of": as_of,
        "store": conf.store_url,
        "champion": release.champion() or "",
        "rungs": conf.train.rungs,
        "seed": conf.train.seed,
        "threads": conf.train.threads,
        "trainjob": trainjob(image) if on_cluster else {},
    }


def scoring(asked: Asked, shards: int, image: str = HERE) -> dict[str, Any]:
    """Return the parameters of the scoring pipeline, for what was asked for in so many shards."""
    conf = settings()
    return {
        "image": image,
        "secret": conf.kubeflow.secret,
        "bundle": asked.bundle,
        "records": asked.records,
        "lake": asked.lake,
        "store": conf.store_url,
        "scores": asked.scores,
        "online": conf.online_url,
        "since": str(asked.since),
        "until": str(asked.until),
        "as_of": asked.as_of.isoformat() if asked.as_of else "",
        "chunk_rows": asked.chunk_rows,
        "ttl_hours": conf.score.ttl_hours,
        "shards": [f"{number}/{shards}" for number in range(shards)],
    }
