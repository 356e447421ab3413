"""Reads the profiles of what was served, day by day: merged over parts, hours and arms, one in memory at a time."""

from collections.abc import Collection, Iterator, Sequence
from datetime import date
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.contract.bundle import PROFILE, Bundle, folder
from ml.contract.profile import Profile
from ml.contract.reference import Variable
from ml.errors import ContractError
from ml.monitoring.profile_files import Part, Place, batches, counting, parts, together
from ml.settings import settings
from ml.store import files

ATTEMPTS = 5  # at an hour whose parts are merged while it is read


class Counted(NamedTuple):
    """Days, in order, and for each variable how many values lay in each of its cells, [days, size]."""

    days: list[date]
    counts: dict[str, NDArray[np.int64]]


def of_training(champion: Bundle) -> Profile:
    """Return the profile of the training table, as the bundle carries it."""
    return Profile.load(files.read(files.join(folder(settings().store_url, champion.digest), PROFILE)))


def arms(url: str, bundle: str) -> list[str]:
    """Return the arms of which there are profiles of a bundle; "" is what was answered outside experiments."""
    return sorted({place.arm for place, _ in parts(url, bundle)})


def read(
    url: str, bundle: str, arms: Collection[str] | None, since: date, until: date
) -> Iterator[tuple[date, Profile]]:
    """Yield each local day that has a profile, both ends included, and the profile of some arms together, or of all."""
    done = batches(url)
    asked = [
        (place, good)
        for place, of in sorted(parts(url, bundle), key=lambda each: each[0].hour)
        if since <= place.day <= until and (arms is None or place.arm in arms) and (good := counting(of, done))
    ]
    for day, group in groupby(asked, key=lambda each: each[0].day):
        yield day, _together(url, day, list(group))


def counts(
    url: str,
    bundle: str,
    variables: Sequence[Variable],
    since: date,
    until: date,
    arms: Collection[str] | None = None,
) -> Counted:
    """Count what a bundle was given and said in the cells of its reference, day by day, to the sketches' error."""
    days: list[date] = []
    found: dict[str, list[NDArray[np.int64]]] = {variable.name: [] for variable in variables}
    for day, profile in read(url, bundle, arms, since, until):
        days.append(day)
        for variable in variables:
            found[variable.name].append(profile.counts(variable.name, variable.bins))
    return Counted(days, {each.name: np.array(found[each.name]).reshape(-1, each.bins.size) for each in variables})


def _together(url: str, day: date, of: Sequence[tuple[Place, Sequence[Part]]]) -> Profile:
    """Return a day's profile of some places, also where their parts are merged meanwhile."""
    whose = {(place.bundle, place.arm) for place, _ in of}
    for _ in range(ATTEMPTS):
        try:
            return together(url, counting([part for _, good in of for part in good], batches(url)))
        except FileNotFoundError:
            ((bundle, _), *_) = whose
            there = [(place, good) for place, good in parts(url, bundle) if (place.bundle, place.arm) in whose]
            of = [(place, good) for place, good in there if place.day == day] or of
    raise ContractError("profiles", f"{url} changes faster than it can be read", "Try again")
