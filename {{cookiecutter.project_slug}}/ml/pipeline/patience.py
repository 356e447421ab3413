"""Looks at what goes on elsewhere; a gateway or a forwarded port that fails for a minute ends no run of an hour."""

import time
from collections.abc import Callable
from typing import Any

from urllib3.exceptions import HTTPError

POLL, PATIENCE = 2.0, 30  # seconds between two looks; looks in a row that nobody answers until it is given up


def patiently(look: Callable[[], Any], refusal: type[Exception]) -> Any:
    """Return what a look returns; raises its error, a `refusal` with an HTTP status, unless that may pass."""
    for left in reversed(range(PATIENCE)):
        try:
            return look()
        except (refusal, HTTPError) as error:
            if not left or 400 <= (getattr(error, "status", None) or 500) < 500:
                raise
        time.sleep(POLL)
