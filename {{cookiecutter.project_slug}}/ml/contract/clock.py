"""The only place that reads the time: wall time, or the simulated time that a replay tells."""

from datetime import UTC, datetime, timedelta


def parse(text: str) -> datetime:
    """Return an ISO 8601 moment with offset as UTC; raises ValueError for anything else."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no offset from UTC")
    return moment.astimezone(UTC)


SLACK = timedelta(days=7)  # outcomes come late: what one replay still sends may be later than the next begins
NEVER = datetime.min.replace(tzinfo=UTC)


class Clock:
    """Tells the time in UTC; a simulated clock stands where it was last set, and never goes far back."""

    def __init__(self, kind: str) -> None:
        self.simulated = kind == "simulated"
        self._now = self._latest = NEVER

    def set(self, moment: datetime) -> None:
        """Set a simulated clock; raises ValueError for a time that was clearly over already, and in wall time."""
        if not self.simulated:
            raise ValueError("this service lives in wall time; start it with ML_SERVE_CLOCK=simulated")
        if self._latest != NEVER and moment < self._latest - SLACK:
            raise ValueError(f"it was {self._latest.isoformat()} already; start the service anew to go back")
        self._now, self._latest = moment, max(self._latest, moment)

    @property
    def told(self) -> bool:
        """Whether it knows the time: a simulated clock does not before it was first set."""
        return not self.simulated or self._now > NEVER

    def now(self) -> datetime:
        """Return the current moment."""
        return self._now if self.simulated else datetime.now(UTC)
