"""Lists the images that a registry without a way out has to hold: what charts, environments and pipelines name."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ml.contract import release
from ml.delivery.image import ROLES, repository, tag_now
from ml.settings import ROOT, settings


def images() -> list[str]:
    """Return every image that building, charts, environments and pipelines name, in order; ours by digest where known.

    Ours that no environment names yet are told with the tag that `ml image` gives them now.
    """
    environments = Path(settings().path(settings().release.folder))
    values = [*ROOT.glob("charts/**/values.yaml"), *environments.glob("*/values.yaml")]
    named = {image for file in values for image in _named(yaml.safe_load(file.read_text()))}
    for file in environments.glob(f"*/{release.NAME}"):
        named.update(release.parse(file.read_bytes(), file).images.values())
    known = {re.split(r"[@:](?!.*/)", image)[0] for image in named}
    ours = {f"{repository(role)}:{tag_now()}" for role in ROLES if repository(role) not in known}
    return sorted(named | ours | {_base()})


def _named(values: Any) -> Iterator[str]:
    """Yield the images in a chart's values: texts called `image`, and those in tables called `images`, by role."""
    if isinstance(values, list):
        for each in values:
            yield from _named(each)
    elif isinstance(values, dict):
        for key, value in values.items():
            if key == "image" and isinstance(value, str):
                yield from filter(None, [value])
            elif key == "images":
                yield from filter(None, value.values())
            else:
                yield from _named(value)


def _base() -> str:
    (default,) = re.findall(r"^FROM (\S+) AS official$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    return settings().image.base or str(default)
