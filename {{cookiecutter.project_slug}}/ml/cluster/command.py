"""A command of another tool, as data: what would be run can be shown and tested where that tool is not there."""

import os
import shlex
import subprocess
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from ml import processes
from ml.errors import ContractError
from ml.progress import say


class Command(NamedTuple):
    """The words of a command, what it reads on standard input, and variables that it gets beside ours."""

    words: tuple[str, ...]
    reads: str = ""
    variables: Mapping[str, str] = {}

    def __str__(self) -> str:
        return shlex.join([*(f"{name}={value}" for name, value in self.variables.items()), *self.words])


def run(commands: Iterable[Command]) -> None:
    """Run commands one after the other, each told as a line; raises ContractError at the first that fails."""
    for command in commands:
        with _running("run", command) as process:
            process.communicate(command.reads)
        _demand(command, process.returncode)


def told(command: Command) -> str:
    """Run a command and return what it prints; raises ContractError where it fails."""
    with _running("run", command, stdout=subprocess.PIPE) as process:
        printed, _ = process.communicate(command.reads)
    _demand(command, process.returncode)
    return printed


def ask(command: Command) -> str | None:
    """Return what a command prints, without the last line break; None where it fails, as for what is not there."""
    with _running("ask", command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        printed, _ = process.communicate(command.reads)
    return None if process.returncode else printed.strip()


@contextmanager
def beside(command: Command, sign: str) -> Iterator[str]:
    """Run a command beside the block, which begins once it has printed `sign`; yields the rest of that line.

    Raises ContractError where the command ends before.
    """
    with _running("run", command, stdout=subprocess.PIPE) as process:
        said = next((line for line in process.stdout or () if sign in line), None)
        if said is None:
            _demand(command, process.wait() or 1)
        threading.Thread(target=deque, args=(process.stdout, 0), daemon=True).start()  # else it would wait for a reader
        yield str(said).partition(sign)[2].strip()


@contextmanager
def _running(verb: str, command: Command, **options: Any) -> Iterator["subprocess.Popen[str]"]:
    """Run a command; where the block ends before it does, so does the command."""
    say(verb, str(command))
    reads = subprocess.PIPE if command.reads else subprocess.DEVNULL
    variables = {**os.environ, **command.variables}
    try:
        process = subprocess.Popen(command.words, stdin=reads, text=True, env=variables, **options)
    except OSError as error:
        mend = "`ml doctor cluster` says how to get it"
        raise ContractError("cluster", f"{command.words[0]} cannot be run: {error.strerror}", mend) from error
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                processes.end(process.pid)


def _demand(command: Command, code: int) -> None:
    if code:
        broken = f"`{command}` ended with exit code {code}"
        raise ContractError("cluster", broken, "It says why above; see docs/cluster.md")
