"""What the stream counts: in Prometheus form, whose client is known only here, and for the line it ends with."""

from dataclasses import dataclass

from prometheus_client import Counter, Gauge, start_http_server

from ml.errors import ContractError
from ml.features.updater import Taken

EVENTS = Counter("ml_stream_events_total", "Events read and re-keyed.", ["kind"])
UPDATES = Counter("ml_stream_updates_total", "Updates, and what became of them.", ["group", "became"])
DEAD = Counter("ml_stream_dead_letters_total", "Messages that were poison.", ["topic"])
COMMITS = Counter("ml_stream_commits_total", "Batches done and committed.", ["topic"])
LAG = Gauge("ml_stream_lag", "Messages, of a file bytes, still to be read by this process.", ["topic", "partition"])


@dataclass
class Tally:
    """What one run has done so far."""

    events: int = 0
    folded: int = 0
    duplicate: int = 0
    late: int = 0
    dead: int = 0

    def read(self, kind: str, events: int) -> None:
        """Count events that were read."""
        self.events += events
        EVENTS.labels(kind).inc(events)

    def taken(self, group: str, taken: Taken) -> None:
        """Count what became of a group's updates."""
        for became, count in taken._asdict().items():
            setattr(self, became, getattr(self, became) + count)
            UPDATES.labels(group, became).inc(count)

    def buried(self, topic: str, letters: int) -> None:
        """Count dead letters, by where they were read."""
        self.dead += letters
        DEAD.labels(topic).inc(letters)


def serve(host: str, port: int) -> None:
    """Let Prometheus ask at an address; raises ContractError when it is taken, or not this machine's."""
    try:
        start_http_server(port, addr=host)
    except OSError as error:
        broken = f"{host}:{port} cannot be used: {error.strerror}"
        raise ContractError("stream", broken, "Edit [stream] metrics_port in project.toml") from error
