"""What a step of a workflow tells GitHub's runner: its outputs, and what the summary of the job shows.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

import os
from pathlib import Path


def output(name: str, value: str) -> None:
    """Set an output of this step, of one line; outside of a workflow nothing happens."""
    _append("GITHUB_OUTPUT", f"{name}={value}")


def summary(markdown: str) -> None:
    """Add to the summary of this job; outside of a workflow nothing happens."""
    _append("GITHUB_STEP_SUMMARY", markdown)


def run_page() -> str | None:
    """Return the address of this run's page, where its artifacts lie; None outside of a workflow."""
    told = [os.environ.get(f"GITHUB_{name}") for name in ("SERVER_URL", "REPOSITORY", "RUN_ID")]
    return "{}/{}/actions/runs/{}".format(*told) if all(told) else None


def _append(variable: str, line: str) -> None:
    if file := os.environ.get(variable):
        with Path(file).open("a") as opened:
            opened.write(f"{line}\n")
