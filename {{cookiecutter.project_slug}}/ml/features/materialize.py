"""Fills an online store from the lake's history: at once, or step by step as simulated time passes."""

from collections.abc import Callable
from contextlib import closing
from datetime import date, timedelta

from ml.errors import ContractError
from ml.features.archive import DAY, EPOCH, Archive
from ml.features.definition import Columns, Event, kind_of
from ml.features.table import GROUPS
from ml.features.updater import Change, Taken, changes_of, take, total
from ml.online.store import OnlineStore, Unavailable, connect, shown
from ml.progress import say

AT_ONCE = 1000  # changes in one transaction: a Redis watches every key of it
Retold = Callable[[type[Event], Columns], Columns]  # what becomes of events of a kind before they are folded


class Feed:
    """Folds a lake's events into a store in the order in which they became available.

    It begins so long before the day `since` that every window is full on that day. A drill retells them wrongly.
    """

    def __init__(self, lake: str, store: OnlineStore, since: date, retold: Retold = lambda _, events: events) -> None:
        self._archive, self._store, self._retold = Archive(lake), store, retold
        self._kinds = list(dict.fromkeys(group.events for group in GROUPS))
        longest = max((group.horizon for group in GROUPS), default=0)
        self._told = ((since - EPOCH).days - 1) * DAY - longest  # a local day may begin on the UTC day before

    def up_to(self, moment: int) -> Taken:
        """Fold what became available up to a moment, in seconds; raises ContractError where the store is away."""
        if moment <= self._told:
            return Taken()
        changes: list[Change] = []
        for kind in self._kinds:
            changes += changes_of(kind, self._retold(kind, self._archive.between(kind, self._told, moment)))
        self._told = moment
        self._archive.forget(moment)
        parts = [changes[start : start + AT_ONCE] for start in range(0, len(changes), AT_ONCE)]
        try:
            return total(take(self._store, part) for part in parts)
        except Unavailable as error:
            raise ContractError("online store", str(error), "See [online] in project.toml") from error


def materialize(lake: str, url: str, until: date | None) -> None:
    """Fill the store at `url` with what was known at the end of a day, UTC; by default of the history's last.

    What the store knows already stays: an event that comes twice counts once.
    """
    if not GROUPS:
        raise ContractError("features", "there are no windowed features", "Nothing has to be done")
    archive = Archive(lake)
    if absent := [kind_of(group.events) for group in GROUPS if not archive.end(group.events)]:
        raise ContractError("data", f"{lake} has no {absent[0]} events", "Run `ml ingest`, or see ml/problem/source.py")
    end = min(archive.end(group.events) for group in GROUPS) - 1
    moment = min(end, ((until - EPOCH).days + 1) * DAY - 1) if until else end
    with closing(connect(url)) as store:
        taken = Feed(lake, store, EPOCH + timedelta(days=moment // DAY)).up_to(moment)
    said = f"folded {taken.folded:,} updates up to {EPOCH + timedelta(days=moment // DAY)} into {shown(url)}"
    say("materialize", f"{said}; {taken.duplicate:,} were known, {taken.late:,} too late")
