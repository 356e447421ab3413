"""The ledger: what must be remembered although processes and pods are not; records are added once and never changed."""

import json
from typing import Any

from ml.store import files


def folder(store: str, book: str) -> str:
    """Return where a book's records lie."""
    return files.join(store, "ledger", book)


def once(store: str, book: str, name: str, record: dict[str, Any]) -> bool:
    """Add a record to a book under its name; says whether it was new. Two who try at once: one wins, both go on."""
    content = json.dumps(record, sort_keys=True, indent=1).encode()
    return files.create(files.join(folder(store, book), f"{name}.json"), content)


def count(store: str, book: str, beginning: str = "") -> int:
    """Return how many records a book has, or those whose names begin so."""
    return sum(name.startswith(beginning) for name in names(store, book))


def names(store: str, book: str) -> list[str]:
    """Return the names of a book's records, sorted."""
    return [name.removesuffix(".json") for name in files.names(folder(store, book))]


def read(store: str, book: str, name: str) -> dict[str, Any] | None:
    """Return a record of a book; None where there is none of that name."""
    try:
        return dict(json.loads(files.read(files.join(folder(store, book), f"{name}.json"))))
    except FileNotFoundError:
        return None
