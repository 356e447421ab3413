"""How long to leave alone what does not answer."""

import time

FIRST, LONGEST = 0.25, 5.0  # seconds


class Away(Exception):
    """The broker does not answer now; what was read since the last commit is to be read again."""


class Backoff:
    """Waits twice as long after each failure in a row."""

    def __init__(self) -> None:
        self._delay, self._until = 0.0, 0.0

    @property
    def waiting(self) -> bool:
        """Whether it is too early to try again."""
        return time.monotonic() < self._until

    def failed(self) -> None:
        """Begin to wait."""
        self._delay = min(max(2 * self._delay, FIRST), LONGEST)
        self._until = time.monotonic() + self._delay

    def worked(self) -> None:
        """Wait no longer than at first after the next failure."""
        self._delay = 0.0
