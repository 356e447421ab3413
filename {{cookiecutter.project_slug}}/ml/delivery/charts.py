"""Holds the charts to account without a cluster: linted strictly, and rendered with what the project deploys with.

Helm itself does both. A custom resource that values ask for counts as known: whether a cluster knows it, and has the
Secrets that are named, `ml doctor cluster` says.
"""

import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ml.cluster.machine import has_tool
from ml.cluster.target import served
from ml.contract import release
from ml.contract.release import Release
from ml.delivery.image import ROLES
from ml.doctor.check import Check, examine
from ml.doctor.kubernetes import NEWEST, OLDEST, SWITCHES
from ml.errors import ContractError
from ml.progress import say
from ml.settings import ROOT, settings

CHARTS = ROOT / "charts"
PUSHED = "kind"  # the environment to which `ml cluster deploy` gives the images that it has just pushed

# In the place of what is not there yet: a release, and the images of it.
NOTHING = Release(champion="0" * 64)
UNBUILT = {role: f"unbuilt/{role}@sha256:{'0' * 64}" for role in ROLES}


def dry_run(environment: str | None) -> int:
    """Lint and render what one environment would get, or each of them, and then each chart with its examples as well.

    Says a line of each, and returns how many failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        nothing = Path(folder) / release.NAME
        nothing.write_text(release.text(NOTHING))
        asked = [*([] if environment else _examples()), *_environments(environment, nothing)]
        failed = examine([partial(has_tool, "helm")]) or examine(asked)
    say("charts", f"{failed or 'none'} of the checks failed")
    return failed


def _examples() -> Iterator[Check]:
    """Yield a check of each chart with each of the values that it is tested with."""
    for values in sorted(CHARTS.glob("*/ci/*-values.yaml")):
        chart = values.parents[1].name
        yield partial(_held, chart, "default", values, ("--values", str(values)))


def _environments(environment: str | None, nothing: Path) -> Iterator[Check]:
    """Yield a check of what each environment's values and release make; where nothing is released, of the values."""
    there = Path(settings().path(settings().release.folder)).glob("*/values.yaml")
    for name in [environment] if environment else sorted(values.parent.name for values in there):
        yield partial(_environment, name, settings().place(name) / "values.yaml", nothing)


def _environment(name: str, values: Path, nothing: Path) -> str:
    if not values.is_file():
        raise ContractError("charts", f"{_short(values)} is not there", "Write it, see docs/kubernetes.md")
    told = release.of(name)
    images: Mapping[Any, str] = UNBUILT if told is None or name == PUSHED else told.images
    given = served(values, release.file(name) if told else nothing, images)
    space = settings().deploy.namespace or f"{settings().project.slug}-{name}"
    return _held("serving", space, values, (*given, "--set-string", f"environment={name}"))


def _held(chart: str, namespace: str, values: Path, given: tuple[str, ...]) -> str:
    """Is there nothing that helm finds wrong with a chart and values, on the oldest Kubernetes and the newest?"""
    known = [word for api in sorted({api for _, _, api, _ in SWITCHES}) for word in ("--api-versions", api)]
    told = (str(CHARTS / chart), "--namespace", namespace, *given)
    _helm(chart, values, "lint", "--strict", "--quiet", "--kube-version", f"1.{OLDEST}", *told)
    for minor in (OLDEST, NEWEST):
        _helm(chart, values, "template", settings().project.slug, *told, "--kube-version", f"1.{minor}", *known)
    return f"charts/{chart} with {_short(values)}"


def _helm(chart: str, values: Path, *words: str) -> None:
    ran = subprocess.run(["helm", *words], capture_output=True, text=True, check=False)
    if ran.returncode:
        said = " ".join((ran.stdout or ran.stderr).split())
        mend = f"Edit {_short(values)}; docs/charts.md has every value"
        raise ContractError("charts", f"helm {words[0]} refuses charts/{chart} with {_short(values)}: {said}", mend)


def _short(values: Path) -> str:
    return str(values.relative_to(ROOT) if values.is_relative_to(ROOT) else values)
