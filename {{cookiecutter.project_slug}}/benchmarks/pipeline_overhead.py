"""What the local runner costs a step: steps that do nothing, beside bare Python and beside importing kfp alone.

Run it in the project's environment with `python -m benchmarks.pipeline_overhead`, optionally with a number of rounds.
They are measured in turn, so that a busy moment of the machine hits all of them.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from kfp import dsl, local

from ml.pipeline.leftovers import nothing_left
from ml.pipeline.steplog import own_lines
from ml.pipeline.steps import step

STEPS = 10
ROUNDS = 5
IN_A_STEP = "import os; os.environ['_KFP_RUNTIME'] = 'true'; import kfp.dsl.executor_main"  # what kfp starts it with


@step
def nothing(before: int) -> int:
    """Do nothing but count, after another step."""
    return before + 1


@dsl.pipeline(name="nothing")
def chain() -> int:
    """Do nothing, again and again; returns how often."""
    done = nothing(before=0).set_caching_options(False)
    for _ in range(STEPS - 1):
        done = nothing(before=done.output).set_caching_options(False)
    return done.output


def run_chain() -> None:
    """Run the chain as `ml pipeline run` runs the training pipeline."""
    with tempfile.TemporaryDirectory() as folder, own_lines((), STEPS), nothing_left(Path(folder)):
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=folder)
        if chain().output != STEPS:
            raise RuntimeError("steps were left out")


def python(code: str) -> Callable[[], None]:
    """Return what runs as many Pythons as the chain has steps."""

    def run() -> None:
        for _ in range(STEPS):
            subprocess.run([sys.executable, "-c", code], check=True)

    return run


def seconds_a_step(run: Callable[[], None]) -> float:
    """Return wall seconds a step of one run."""
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) / STEPS


def main(rounds: int) -> None:
    """Measure in turn and print medians with the range."""
    runs = {
        "bare python": python("pass"),
        "importing kfp": python("import kfp"),
        "importing it as a step": python(IN_A_STEP),
        "a step": run_chain,
    }
    for run in runs.values():  # once unmeasured: caches of files and bytecode are filled
        run()
    measured: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            measured[name].append(seconds_a_step(run))
    print(f"{'':24}{'median':>9}{'fastest':>9}{'slowest':>9}   seconds a step, {rounds} rounds of {STEPS}")
    for name, found in measured.items():
        print(f"{name:24}{median(found):9.3f}{min(found):9.3f}{max(found):9.3f}")
    over = [each - bare for each, bare in zip(measured["a step"], measured["bare python"], strict=True)]
    print(f"{'overhead of the runner':24}{median(over):9.3f}{min(over):9.3f}{max(over):9.3f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
