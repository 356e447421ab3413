"""Can it be run? CPU time, size and memory of the scorer alone; HTTP latency is judged where it is deployed."""

import subprocess
import sys
import time
from typing import NamedTuple

import numpy as np

from ml.contract.bundle import Bundle
from ml.contract.framing import framing
from ml.contract.verdict import Check, overall
from ml.features.table import Inputs
from ml.gate.case import Case
from ml.settings import ROOT
from ml.statistics.inference import Answer

ROUNDS, ONE_BY_ONE, BATCH = 60, 20, 1000


class Cpu(NamedTuple):
    """CPU time of one prediction in a loop, in microseconds, and of a thousand at once, in milliseconds."""

    single: float
    thousand: float


def cpu_times(scorers: list[Bundle], inputs: Inputs) -> list[Cpu]:
    """Return the medians over rounds in which all take turns, so that a busy machine troubles all alike."""
    rows = np.resize(np.arange(len(inputs.numbers)), BATCH)
    batch = Inputs(inputs.numbers[rows], inputs.categories[rows])
    single = [Inputs(batch.numbers[[row]], batch.categories[[row]]) for row in range(ONE_BY_ONE)]
    spent = np.empty((2, ROUNDS, len(scorers)))
    for turn in range(ROUNDS):
        for place, bundle in enumerate(scorers):
            began = time.thread_time()
            for row in single:
                bundle.scorer.score(row)
            between = time.thread_time()
            bundle.scorer.score(batch)
            spent[:, turn, place] = (between - began) / ONE_BY_ONE * 1e6, (time.thread_time() - between) * 1e3
    return [Cpu(*each) for each in np.median(spent, axis=1).T.tolist()]


def cpu(case: Case) -> Check:
    """CPU time within the budget, beside the champion; the champion measured twice says how far to trust that."""
    budget = framing().budget
    champion, challenger, again = cpu_times([case.champion, case.challenger, case.champion], case.recent.rows.inputs)
    noise = max(max(one / two, two / one) - 1 for one, two in zip(champion, again, strict=True))
    answers = [
        within(challenger.single, budget.cpu_us_per_prediction, noise),
        within(challenger.thousand, budget.cpu_ms_per_thousand, noise),
    ]
    return Check(
        name="cpu",
        question="Is a prediction within the CPU budget?",
        answer=overall(answers),
        said=f"{challenger.single:.0f} us a prediction (champion {champion.single:.0f}, limit "
        f"{budget.cpu_us_per_prediction:g}), {challenger.thousand:.1f} ms a thousand (champion "
        f"{champion.thousand:.1f}, limit {budget.cpu_ms_per_thousand:g}); the champion twice differs by {noise:.0%}"
        + ("; too near the limit for so noisy a machine, try again" if "inconclusive" in answers else ""),
        evidence={
            "challenger": list(challenger),
            "champion": list(champion),
            "champion_again": list(again),
            "noise": noise,
        },
    )


def within(value: float, limit: float, noise: float) -> Answer:
    """Say whether a measured value is below its limit, if either may be off by a share `noise`."""
    if value * (1 + noise) < limit:
        return "pass"
    return "fail" if value / (1 + noise) > limit else "inconclusive"


def size(case: Case) -> Check:
    """Bytes of the graph, which every pod loads before it is ready."""
    megabytes, limit = len(case.challenger.model) / 1e6, framing().budget.size_mb
    return Check(
        name="size",
        question="Is the graph within the size budget?",
        answer="pass" if megabytes <= limit else "fail",
        said=f"{megabytes:.2f} MB (champion {len(case.champion.model) / 1e6:.2f}, limit {limit:g})",
        evidence={"megabytes": megabytes},
    )


def memory(case: Case) -> Check:
    """Resident memory that the loaded graph adds, each in a process of its own."""
    limit = framing().budget.memory_mb
    challenger, champion = (resident(bundle) for bundle in (case.challenger, case.champion))
    return Check(
        name="memory",
        question="Is the loaded model within the memory budget?",
        answer="pass" if challenger <= limit else "fail",
        said=f"{challenger:.0f} MB to load it and to score {BATCH:,} rows (champion {champion:.0f}, limit {limit:g})",
        evidence={"megabytes": challenger, "champion_megabytes": champion},
    )


PROBE = f"""
import pathlib, resource, sys
import numpy as np
from ml.contract.scorer import Scorer
from ml.features.table import CATEGORIES, NUMBERS, Inputs
pages = lambda: int(pathlib.Path("/proc/self/statm").read_text().split()[1])
numbers = np.zeros(({BATCH}, len(NUMBERS)), np.float32)
categories = np.full(({BATCH}, len(CATEGORIES)), "", object)
model, before = sys.stdin.buffer.read(), pages()
scorer = Scorer(model, sys.argv[1:])
scorer.score(Inputs(numbers, categories))
print((pages() - before) * resource.getpagesize() / 1e6)
"""


def resident(bundle: Bundle) -> float:
    """Return how many megabytes loading a graph, and scoring a batch, add to the resident memory of a fresh process."""
    command = [sys.executable, "-c", PROBE, *bundle.manifest["features"]]
    ran = subprocess.run(command, input=bundle.model, capture_output=True, check=True, cwd=ROOT)
    return float(ran.stdout)
