"""The way back: the very bytes of an environment's release file before its last change, from git."""

import time

from ml.contract import release as contract
from ml.progress import say
from ml.promotion import change
from ml.promotion.remembered import before
from ml.promotion.status import words
from ml.settings import settings

BRANCH = "revert/"  # and the environment


def revert(pull_request: bool) -> None:
    """Restore what this process's environment was told before, or propose it; says how long that took.

    Raises ContractError where git knows nothing before it, and for bytes that are no release.
    """
    start, environment = time.perf_counter(), settings().release.environment
    changed, content = before(environment)
    told = contract.parse(content, f"{environment} as it was")
    undone = f"what it was before commit {changed[:12]}" if changed else "what was committed last"
    now = f"{undone}: {words(told)}, plan {told.plan}"
    if pull_request and changed:  # what was not committed can be taken back, and not proposed
        title, body = f"{environment}: back to {told.champion[:12]}", f"The release file is again {now}.\n"
        where = change.proposed(f"{BRANCH}{environment}", environment, content, title, body)
        said = f"proposed for {environment}: {now}; {where}"
    else:
        said = f"{change.make(environment, content)} is again {now}"
    say("release", f"{said}; it took {time.perf_counter() - start:.2f} s")
