"""The store's bundles as a registry: what exists, what it is, where it runs, how two differ, and what may go."""

from collections.abc import Iterator
from typing import Any

from ml.contract import bundle as bundles
from ml.contract import verdict
from ml.contract.framing import framing
from ml.errors import ContractError
from ml.pages.words import words
from ml.progress import say, table
from ml.promotion import remembered
from ml.promotion.named import named
from ml.statistics.metrics import Estimate
from ml.store import files

NOWHERE = "nobody: may go"


def list_(store: str) -> None:
    """Print every bundle, by what it was fitted on, and who needs it."""
    needed = named(store)
    made = {digest: bundles.manifest(store, digest) for digest in bundles.names(store)}
    metric = framing().task.metric
    rows = [
        (digest[:12], each["rung"], _span(each), _measured(each, metric), "\n".join(needed.get(digest, [NOWHERE])))
        for digest, each in sorted(made.items(), key=lambda item: (item[1]["fit"]["span"], item[0]))
    ]
    table(f"Bundles of {store}", ("bundle", "rung", "fitted on", f"{words(metric)}, test days", "needed by"), rows)
    say("bundles", f"{len(made)} in {store}, {len(made.keys() - needed.keys())} of which nobody needs")


def show(store: str, digest: str | None) -> None:
    """Print what one bundle is, who needs it, and every verdict on it; proves it first."""
    digest = bundles.resolve(store, digest)
    made = bundles.load(store, digest).manifest
    rows = [("bundle", digest), *_facts(made)]
    rows += [("needed by", each) for each in named(store).get(digest, [NOWHERE])]
    rows += [("verdict", said) for said in _verdicts(store, digest)]
    table(f"{made['rung']} {digest[:12]}", (), rows)
    say("bundles", f"{digest[:12]} is whole; its card is {files.join(bundles.folder(store, digest), bundles.PAGE)}")


def diff(store: str, one: str, other: str) -> None:
    """Print in what two bundles differ."""
    digests = [bundles.resolve(store, each) for each in (one, other)]
    first, second = (dict(_facts(bundles.manifest(store, each))) for each in digests)
    rows = [
        (name, first.get(name, "none"), second.get(name, "none"))
        for name in dict.fromkeys([*first, *second])
        if first.get(name) != second.get(name)
    ]
    table("", ("what differs", *(each[:12] for each in digests)), rows)
    say(
        "bundles", f"{digests[0][:12]} and {digests[1][:12]} differ in {len(rows)} of {len({*first, *second})} respects"
    )


def prune(store: str, yes: bool) -> None:
    """Say which bundles nobody needs, and with `yes` remove them; what is on the remote is asked for first.

    Raises ContractError where something would go and what is proposed is not known.
    """
    failed = remembered.fetch()
    if failed and yes:
        broken = f"what is proposed is not known, so nothing was removed: {' '.join(failed.split())}"
        raise ContractError("bundles", broken, "Run it where `git fetch` works")
    needed = named(store)
    gone = [digest for digest in bundles.names(store) if digest not in needed]
    for digest in gone:
        rung = bundles.manifest(store, digest)["rung"]
        if yes:
            bundles.remove(store, digest)
        say("bundles", f"{'removed' if yes else 'may go:'} {digest[:12]} ({rung})")
    kept = len(bundles.names(store)) - (0 if yes else len(gone))
    did = f"removed {len(gone)}" if yes else f"would remove {len(gone)}, with --yes"
    say("bundles", f"{did}; needed: {kept}")


def _span(made: dict[str, Any]) -> str:
    return " to ".join(made["fit"]["span"])


def _measured(made: dict[str, Any], metric: str) -> str:
    return str(Estimate(**made["ladder"][made["rung"]]["test"][metric]))


def _facts(made: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what may differ between bundles, by name, in words."""
    rung, came = made["ladder"][made["rung"]], made["provenance"]
    yield "rung", made["rung"]
    yield "fitted on", f"{_span(made)}, {made['fit']['rows']:,} rows"
    yield "tested on", f"{made['test']['days'][0]} to {made['test']['days'][-1]}, {made['test']['rows']:,} rows"
    yield from ((words(metric), _measured(made, metric)) for metric in rung["test"])
    yield "parameters", ", ".join(f"{name} {value}" for name, value in rung["parameters"].items()) or "as in the code"
    yield "features", ", ".join(made["features"])
    yield "acts from", f"{made['threshold']:.3f}"
    yield "contract", str(made["contract"])
    yield from ((what, came[what] or "none") for what in ("commit", "data", "tree", "locks"))


def _verdicts(store: str, digest: str) -> Iterator[str]:
    home = files.join(store, "verdicts")
    for environment in files.names(home):
        for champion in files.names(files.join(home, environment, digest)):
            found = verdict.Verdict.model_validate_json(
                files.read(files.join(home, environment, digest, champion, verdict.FILE))
            )
            yield f"{found.answer} in {environment} against {champion[:12]}, {found.judged_at:%Y-%m-%d}"
