"""Rows of the log put apart by a key: in memory while they are few, in a folder once they are many."""

from collections import defaultdict
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ml.eventlog import segments

MANY = 200_000  # rows in memory at once


class Spill:
    """Takes rows in, each with its key, and gives back those of a key, in the order in which they came."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder, self._rows, self._written = folder, 0, 0
        self._here: dict[str, list[pa.Table]] = defaultdict(list)
        self._there: dict[str, list[Path]] = defaultdict(list)

    def add(self, rows: pa.Table, keys: pa.Array) -> None:
        """Take rows in, whose keys are texts, [rows]; one that has none is left out."""
        for key in pc.unique(keys).drop_null().to_pylist():
            self._here[key].append(rows.filter(pc.equal(keys, key)))
        self._rows += len(rows)
        if self._rows > MANY:
            self._write()

    @property
    def keys(self) -> list[str]:
        """The keys, sorted."""
        return sorted({*self._here, *self._there})

    def of(self, key: str) -> list[pa.Table]:
        """Return the rows of a key, as they came; some may lack a column, or have it of another kind."""
        written = [pa.ipc.open_file(str(file)).read_all() for file in self._there.get(key, [])]
        return [*written, *self._here.get(key, [])]

    def _write(self) -> None:
        for key, parts in self._here.items():
            self._written += 1
            file = self._folder / str(self._written)
            rows = segments.together(parts)
            with pa.ipc.new_file(str(file), rows.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as told:
                told.write_table(rows)
            self._there[key].append(file)
        self._here.clear()
        self._rows = 0
