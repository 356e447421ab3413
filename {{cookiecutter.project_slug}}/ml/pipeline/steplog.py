"""What a run of the pipeline prints, reduced to what a person wants: each step's one line, or its one error."""

import builtins
import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from ml.errors import ContractError
from ml.progress import Bar


class Lines(io.StringIO):
    """Keeps all that is written, and passes on the lines that begin with one of the verbs."""

    def __init__(self, out: TextIO, verbs: tuple[str, ...], bar: Bar) -> None:
        super().__init__()
        self._out, self._verbs, self._bar, self._rest = out, verbs, bar, ""

    def write(self, text: str) -> int:
        """Keep `text`; print the lines in it that a verb said."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in map(str.strip, lines):
            if line.split(" ")[0] in self._verbs:
                self._bar.print(line, self._out)
                self._bar.advance()
        return super().write(text)


@contextlib.contextmanager
def own_lines(verbs: tuple[str, ...], steps: int) -> Iterator[Lines]:
    """Hide what the runner prints and logs, but for the lines of the verbs; yields all of it."""
    logging.disable(logging.ERROR)
    kept = builtins.print  # the runner puts its own in its place, and threads that do so leave it there
    try:
        with Bar("running the pipeline", total=steps, own_stdout=False) as bar:
            log = Lines(sys.stdout, verbs, bar)
            with contextlib.redirect_stdout(log), warnings.catch_warnings(action="ignore"):
                yield log
    finally:
        builtins.print = kept
        logging.disable(logging.NOTSET)


def reason(log: str, kept: Path) -> ContractError:
    """Return the failed step's own error out of a run's log, or where the log is kept."""
    kept.write_text(log)
    return said(log) or ContractError("pipeline", "a step failed", f"See {kept}")


def said(log: str) -> ContractError | None:
    """Return the error with which a step ended, out of its log; None where it ended otherwise."""
    marker = f"{ContractError.__module__}.{ContractError.__name__}: "
    told = [line.split(marker, 1)[1] for line in log.splitlines() if marker in line]
    if not told:
        return None
    contract, _, rest = told[-1].partition(": ")
    broken, _, mend = rest.rpartition(". ")
    return ContractError(contract, broken, mend)
