"""Small executables of our own that stand in for tools: they note how they were called, and answer.

They prove what would be run, in which order, and what is made of an answer or of a failure. Of a cluster they prove
nothing.
"""

import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

PROGRAM = f"""#!{sys.executable}
import json, pathlib, re, sys, time
here = pathlib.Path(__file__)
words = " ".join(sys.argv[1:])
read = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read()
with (here.parent / "calls").open("a") as calls:
    calls.write(json.dumps([here.name, sys.argv[1:], read]) + "\\n")
for pattern, printed, code, seconds in json.loads((here.parent / f"{{here.name}}.json").read_text()):
    if re.search(pattern, words):
        print(printed, flush=True)
        time.sleep(seconds)
        sys.exit(code)
"""


class Call(NamedTuple):
    """One call: the tool, its words, and what it read."""

    tool: str
    words: list[str]
    read: str

    def __str__(self) -> str:
        return " ".join([self.tool, *self.words])


class StandIns:
    """A folder that is first on PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, tool: str, *answers: tuple[str, str, int] | tuple[str, str, int, int]) -> None:
        """Put a tool there: the first answer whose pattern is found in its words is printed, else nothing.

        An answer is a pattern, what is printed, the exit code, and how many seconds the tool stays afterwards.
        """
        rules = [(*answer, 0) if len(answer) == 3 else answer for answer in answers]
        (self.folder / f"{tool}.json").write_text(json.dumps(rules))
        (self.folder / tool).write_text(PROGRAM)
        (self.folder / tool).chmod(0o755)

    @property
    def calls(self) -> list[Call]:
        """All calls so far."""
        noted = self.folder / "calls"
        return [Call(*json.loads(line)) for line in noted.read_text().splitlines()] if noted.exists() else []

    def clear(self) -> None:
        """Forget the calls so far."""
        (self.folder / "calls").unlink(missing_ok=True)


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIns:
    """No other tool than these and git is on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("git", "sh"):
        found = next(Path(each, name) for each in os.environ["PATH"].split(os.pathsep) if Path(each, name).exists())
        (folder / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(folder))
    return StandIns(folder)
