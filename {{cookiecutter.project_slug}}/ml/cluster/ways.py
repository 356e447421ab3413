"""Ways from this machine into a cluster, for as long as a block takes; its settings lead through them meanwhile."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ml.cluster.command import beside
from ml.cluster.target import Target
from ml.settings import settings

OPEN = "Forwarding from "  # what kubectl says once a way is open


@contextmanager
def way(target: Target, service: str, port: int) -> Iterator[str]:
    """Open a way to a port of a service; yields where it begins, as 127.0.0.1:40000."""
    with beside(target.forward(service, port), OPEN) as said:
        yield said.split()[0]


@contextmanager
def variables(**values: str) -> Iterator[None]:
    """Set variables for the block, and let the settings be read anew."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    settings.cache_clear()
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        settings.cache_clear()
