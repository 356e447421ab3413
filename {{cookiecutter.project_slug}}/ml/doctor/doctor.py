"""Asks all that can be asked of a place, and says how each thing that is wrong is mended."""

from ml.doctor import github, kubernetes, laptop
from ml.doctor.check import examine
from ml.progress import say


def doctor(place: str, context: str | None, namespace: str | None) -> int:
    """Examine the laptop, the cluster or github, and return how many checks failed; a doubt is no failure."""
    if place == "cluster":
        failed = examine(kubernetes.checks(context, namespace))
    else:
        failed = examine(laptop.CHECKS if place == "laptop" else github.checks())
    say("doctor", f"{place}: {failed or 'none'} of the checks failed")
    return failed
