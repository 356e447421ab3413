"""The tree that is copied holds nothing that does not belong there, and its locks say one thing."""

import re
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT, TEMPLATE
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCKS = sorted([*ROOT.glob("requirements*.txt"), *TEMPLATE.glob("requirements/*.txt")])
ENTRY = re.compile(r"([a-z0-9-]+)==(\S+)( ; [^\\]+)?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)")


def pins(lock: Path) -> dict[str, str]:
    return {name: version for name, version, *_ in ENTRY.findall(lock.read_text())}


def test_nothing_lies_in_the_tree_that_git_does_not_carry(run):
    every = ("--porcelain", "--ignored", "--untracked-files=all")
    status = run("git", "status", *every, "--", TEMPLATE.name, cwd=ROOT)
    strangers = [line for line in status.splitlines() if line.startswith(("??", "!!"))]
    assert not strangers, "cookiecutter would copy these into every project:\n" + "\n".join(strangers)


def test_no_braces_of_cookiecutter_outside_the_name_tag():
    for path in TEMPLATE.rglob("*"):
        if path.is_dir() or (path.parent == TEMPLATE and path.name in ("README.md", "project.toml")):
            continue
        # Files at the top are rendered and so have no braces at all; below, Helm and GitHub have theirs.
        braces = rb"\{[{%#]" if path.parent == TEMPLATE else rb"\{[{%#][^}]*cookiecutter"
        assert not re.search(braces, path.read_bytes()), path


def test_tools_keep_their_own_locks_out_of_git(run):
    tracked = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).splitlines()
    assert not {"uv.lock", "package-lock.json", "poetry.lock"} & {Path(name.strip('"')).name for name in tracked}


def test_every_lock_is_there():
    assert [lock.name for lock in LOCKS] == [
        "requirements-dev.txt",
        "requirements.txt",
        "dev.txt",
        "flink.txt",
        "serving.txt",
        "stream.txt",
        "training.txt",
    ]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_is_hashed_pins_and_names_no_place(lock):
    body = "".join(line for line in lock.read_text().splitlines(keepends=True) if not line.startswith("#"))
    assert not ENTRY.sub("", body).strip()
    assert re.findall("^#.*", lock.read_text(), re.MULTILINE)[1:] == ["#    scripts/lock"]
    assert not re.search(r"://|/home|/root|/tmp|--(extra-)?index|--find-links", lock.read_text())


def test_no_two_locks_differ_in_a_version():
    versions: dict[str, set[str]] = {}
    for lock in LOCKS:
        for name, version in pins(lock).items() if lock.name != "flink.txt" else ():  # never in one environment
            versions.setdefault(name, set()).add(version)
    assert not {name: found for name, found in versions.items() if len(found) > 1}


@pytest.mark.parametrize(
    ("project", "extra", "lock"),
    [
        (TEMPLATE, None, "requirements/training.txt"),
        (TEMPLATE, None, "requirements/serving.txt"),
        (TEMPLATE, "training", "requirements/training.txt"),
        (TEMPLATE, "serving", "requirements/serving.txt"),
        (TEMPLATE, None, "requirements/stream.txt"),
        (TEMPLATE, "stream", "requirements/stream.txt"),
        (TEMPLATE, "dev", "requirements/dev.txt"),
        (ROOT, None, "requirements.txt"),
        (ROOT, "dev", "requirements-dev.txt"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_lock_has_what_pyproject_asks_for(project, extra, lock):
    asked = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(line) for line in (asked["optional-dependencies"][extra] if extra else asked["dependencies"])]
    locked = pins(project / lock)
    assert wanted
    for requirement in wanted:
        assert [part.operator for part in requirement.specifier] == ["=="], f"{requirement} is not pinned"
        assert str(requirement.specifier) == f"=={locked[canonicalize_name(requirement.name)]}"
