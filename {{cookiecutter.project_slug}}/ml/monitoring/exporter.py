"""What the monitor last found, for Prometheus: its reports, read when they are asked for.

The monitor is a job that ends, so there is nothing to scrape; its reports outlive it.
"""

import json
import time
from collections.abc import Callable
from threading import Lock
from typing import Any

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ml.errors import ContractError
from ml.monitoring.gauges import REPORTS, VERDICT, Gauges, gauge
from ml.progress import say
from ml.store import files

FRESH = 30.0  # seconds for which reports are not read again


def application(url: str, fresh: float = FRESH) -> Callable[..., Any]:
    """Return the WSGI application that answers with the metrics of the reports below a URL."""
    registry = CollectorRegistry()
    registry.register(Reports(url, fresh))
    return make_wsgi_app(registry)


class Reports(Collector):
    """The reports below a URL, read at most every `fresh` seconds; one that cannot be read is told as it last was."""

    def __init__(self, url: str, fresh: float = FRESH) -> None:
        self._url, self._fresh, self._lock = url, fresh, Lock()
        self._read: float | None = None
        self._known: dict[str, list[GaugeMetricFamily]] = {}
        self._up: set[str] = set()

    def collect(self) -> Gauges:
        """Yield the gauges; without a verdict only one, which says so."""
        with self._lock:
            if self._read is None or time.monotonic() - self._read >= self._fresh:
                self._up = {name for name in REPORTS if self._look(name)}
                self._read = time.monotonic()
            up = {(): VERDICT in self._up}
            told = [gauge("ml_monitor_up", "Whether there is a verdict that can be read.", [], up)]
            return iter(told + [each for gauges in self._known.values() for each in gauges])

    def _look(self, name: str) -> bool:
        """Read one report and say whether it could be; one that is not there has no gauges."""
        try:
            told = json.loads(files.read(files.join(self._url, name)))
            self._known[name] = list(REPORTS[name](told))
        except FileNotFoundError:
            self._known.pop(name, None)
            return False
        except (ContractError, AttributeError, KeyError, TypeError, ValueError) as error:
            say("monitor", f"{name} cannot be read, and is told as it last was: {type(error).__name__}: {error}")
            return False
        return True
