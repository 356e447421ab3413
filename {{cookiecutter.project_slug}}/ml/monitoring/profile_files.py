"""Where profiles of what was served lie: <bundle>/<arm>/<local hour or day>/<part>.bin, below the profiles' URL.

A part is written by one run of `ml profile` from some segments of the event log, and counts once the run's batch says
which segments these were. Parts of an hour, and later hours of a day, are merged into one that names those whose place
it takes, so that whoever reads between its writing and their removal counts nothing twice.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import NamedTuple
from urllib.parse import quote, unquote

from ml.contract.profile import Profile
from ml.store import files

BATCHES, NOBODY = "batches", "-"  # folders: of what was profiled already, and of an arm or a bundle without a name
FORM = "%Y-%m-%dT%H"  # of a local hour; of a day, what comes before the T
MERGED, SUFFIX = "merged-", ".bin"
APART = timedelta(days=2)  # for which hours lie apart, before all of a day are one: weeks are read quickly then


class Place(NamedTuple):
    """Whose predictions a profile is of: a bundle's, in an arm ("" without an experiment), in a local hour or day."""

    bundle: str
    arm: str
    hour: str  # 2026-04-01T10, or 2026-04-01

    @property
    def folder(self) -> str:
        """Return where it lies, below the profiles."""
        return "/".join([_folder(self.bundle), _folder(self.arm), self.hour])

    @property
    def day(self) -> date:
        """The local day."""
        return self.begin.date()

    @property
    def begin(self) -> datetime:
        """When the hour begins, in local time."""
        return datetime.fromisoformat(self.hour)

    def as_of(self, newest: datetime) -> "Place":
        """Return where its profile lies once the log has reached a local time: itself, or the whole day."""
        return self._replace(hour=str(self.day)) if newest - self.begin >= APART else self


class Part(NamedTuple):
    """One file of a place."""

    place: Place
    name: str

    @property
    def merged(self) -> bool:
        """Whether it was merged of others."""
        return self.name.startswith(MERGED)

    @property
    def batch(self) -> str:
        """Return the batch that wrote it, where it was not merged."""
        return self.name.partition(".")[0]

    def url(self, url: str) -> str:
        """Return where it lies."""
        return files.join(url, self.place.folder, self.name)


def _folder(name: str) -> str:
    return quote(name, safe="") or NOBODY


def _name(folder: str) -> str:
    return "" if folder == NOBODY else unquote(folder)


def batches(url: str) -> set[str]:
    """Return the batches that count."""
    return set(files.names(files.join(url, BATCHES)))


def segments_of(url: str, batch: str) -> list[str]:
    """Return the segments of the event log that a batch profiled."""
    return list(json.loads(files.read(files.join(url, BATCHES, batch))))


def count(url: str, batch: str, segments: Iterable[str]) -> None:
    """Let a batch, whose parts are written, count."""
    files.write(files.join(url, BATCHES, batch), json.dumps(sorted(segments)).encode())


def parts(url: str, bundle: str | None = None) -> Iterator[tuple[Place, list[Part]]]:
    """Yield each place, of all bundles or of one, in order, and its parts, whether they count or not."""
    above = "" if bundle is None else f"{_folder(bundle)}/"
    found = [f"{above}{path}".split("/") for path in files.states(files.join(url, above.rstrip("/")))]
    of = sorted(Part(Place(_name(path[0]), _name(path[1]), path[2]), path[3]) for path in found if len(path) == 4)
    for place, group in groupby(of, key=lambda part: part.place):
        yield place, list(group)


def left(url: str, done: set[str]) -> dict[str, list[Part]]:
    """Return the parts that do not count, by the batch that wrote them before it was interrupted."""
    found: dict[str, list[Part]] = {}
    for _, of in parts(url):
        for part in of:
            if not part.merged and part.batch not in done:
                found.setdefault(part.batch, []).append(part)
    return found


def counting(of: Iterable[Part], done: set[str]) -> list[Part]:
    """Return the parts that count, the merged ones first, given the batches that do."""
    return sorted((part for part in of if part.merged or part.batch in done), key=lambda part: not part.merged)


def together(url: str, of: Sequence[Part]) -> Profile:
    """Return the profile of parts that count, one at a time in memory; raises FileNotFoundError where one has gone."""
    merged = {part.name: Profile.load(files.read(part.url(url))) for part in of if part.merged}
    replaced = set().union(*(profile.replaces for profile in merged.values()))
    first, *others = [part for part in of if part.name not in replaced]
    whole = merged.get(first.name) or Profile.load(files.read(first.url(url)))
    for part in others:
        whole = whole.merge(merged.get(part.name) or Profile.load(files.read(part.url(url))))
    return whole


def merge(url: str, place: Place, of: Sequence[Part]) -> None:
    """Put one part at a place in the place of several that count."""
    names = [part.name for part in of]
    name = f"{MERGED}{hashlib.sha256(' '.join(names).encode()).hexdigest()[:8]}{SUFFIX}"
    files.write(Part(place, name).url(url), together(url, of).dump(names))
    for part in of:
        files.remove(part.url(url))
