"""A process that goes on when who started it has ended, remembered so that it can be ended later, and no other."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel

from ml import processes
from ml.settings import ROOT


class Started(BaseModel):
    """A process by its number and by when it began: numbers are given again."""

    pid: int
    began: str

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return processes.began(self.pid) == self.began

    def tell_to_end(self) -> None:
        """Ask it to end, politely."""
        if self.runs:
            os.kill(self.pid, signal.SIGTERM)

    def end(self, patience: float) -> None:
        """Return once it has ended, and all that it started: by force after so many seconds."""
        deadline = time.monotonic() + patience
        while self.runs and time.monotonic() < deadline:
            time.sleep(0.05)
        if self.runs:
            processes.end(self.pid)


def start(words: Sequence[str], log: Path, variables: Mapping[str, str]) -> Started:
    """Start a Python module with words; what it prints goes to `log`."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=ROOT,
            env=os.environ | dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return Started(pid=process.pid, began=processes.began(process.pid) or "")
