"""The scripts say in one line what a machine lacks, install from locks once, and leave everything else alone."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT, TEMPLATE

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
APT = "apt-get update && apt-get install -y"
CONTAINER = 'docker run --rm -it -v "$PWD":/project -w /project python:3.12 scripts/demo'
TOOLS = (
    "basename",
    "cat",
    "cksum",
    "dirname",
    "flock",
    "git",
    "id",
    "ls",
    "mkdir",
    "mktemp",
    "rm",
    "sed",
    "sh",
    "uname",
)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory) -> Path:
    """Two pure packages of this environment as wheels again, so that pip installs them without an index."""
    folder = tmp_path_factory.mktemp("wheels")
    for name in ("flit-core", "iniconfig"):
        package = distribution(name)
        with zipfile.ZipFile(folder / f"{name.replace('-', '_')}-{package.version}-py3-none-any.whl", "w") as wheel:
            for file in package.files or ():
                if "__pycache__" not in file.parts:
                    wheel.write(file.locate(), str(file))
    return folder


def a_machine(tmp_path, project, wheels, environment):
    """Make a machine with a small project, on which only the tools are that a test leaves or puts there."""
    it = SimpleNamespace(bin=tmp_path / "bin", project=tmp_path / "a project", hidden=tmp_path / "hidden")
    for folder in (it.bin, it.hidden):
        folder.mkdir()
    for tool in TOOLS:
        (it.bin / tool).symlink_to(shutil.which(tool))

    def put(name: str, script: str) -> None:
        (it.bin / name).unlink(missing_ok=True)
        (it.bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (it.bin / name).chmod(0o755)

    def lock(role: str, *names: str) -> None:
        pins = []
        for wheel in (next(wheels.glob(f"{name}-*")) for name in names):
            sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
            pins.append(f"{'=='.join(wheel.name.split('-')[:2])} --hash=sha256:{sha256}\n")
        (it.project / "requirements" / f"{role}.txt").write_text("".join(pins))

    def start(script: str = "demo", *words: str, **variables: str) -> subprocess.Popen:
        offline = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
        others = {name: value for name, value in environment.items() if not name.startswith("PIP_")}
        return subprocess.Popen(
            [it.project / "scripts" / script, *words],
            env=others | offline | {"PATH": str(it.bin)} | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(*words: str, **variables: str) -> SimpleNamespace:
        process = start(*words, **variables)
        out, err = process.communicate(timeout=120)
        return SimpleNamespace(code=process.returncode, out=out.splitlines(), err=err.splitlines())

    it.put, it.lock, it.start, it.run = put, lock, start, run
    put(f"python{VERSION}", f'PYTHONPATH={it.hidden} exec "{sys.executable}" "$@"')
    put("apt-get", "")
    put("apt-cache", "")
    put("id", "echo 0")
    shutil.copytree(project, it.project)
    (it.project / "ml/__main__.py").write_text("def main():\n    print('the demo ran')\n")
    lock("training", "flit_core")
    lock("serving", "flit_core", "iniconfig")
    lock("stream", "flit_core")
    lock("dev", "iniconfig")
    return it


@pytest.fixture
def machine(tmp_path, project, wheels, environment):
    """A machine of one's own."""
    return a_machine(tmp_path, project, wheels, environment)


def only(line: str) -> list[str]:
    return [f"Missing: {line}"]


def test_git_is_missed(machine):
    (machine.bin / "git").unlink()
    result = machine.run()
    assert (result.code, result.out) == (1, [])
    assert result.err == only(f"git. Get it with: {APT} git")


@pytest.mark.parametrize(
    ("manager", "uid", "command"),
    [
        ("apt-get", 1000, "sudo apt-get update && sudo apt-get install -y git"),
        ("dnf", 1000, "sudo dnf install -y git"),
        ("dnf", 0, "dnf install -y git"),
        ("brew", 1000, "brew install git"),
        (None, 0, "your package manager; Debian calls it git, Fedora git"),
    ],
)
def test_the_command_is_that_of_the_machine_and_of_the_user(machine, manager, uid, command):
    for name in ("git", "apt-get", "apt-cache"):
        (machine.bin / name).unlink()
    machine.put("id", f"echo {uid}")
    if manager:
        machine.put(manager, "")
    assert machine.run().err == only(f"git. Get it with: {command}")


@pytest.mark.parametrize("python", [None, "echo 'pyenv: python3: command not found' >&2; exit 127"])
def test_python_is_missed(machine, python):
    (machine.bin / f"python{VERSION}").unlink()
    if python:
        machine.put("python3", python)
    (line,) = machine.run().err
    assert line.startswith(f"Missing: Python 3.12 or 3.11. Get it with: {APT} python3")


@pytest.mark.parametrize(
    ("known", "command"),
    [
        ("*", f"{APT} python3.12-venv"),
        ("python3-venv | python3.11-venv", f"{APT} python3.11-venv"),
        ("nothing", f"{APT} python3-venv"),
        ("python3-venv", f"{APT} pipx && pipx install uv && "),
    ],
)
def test_another_python_is_named_with_one_that_the_machine_can_get(machine, known, command):
    (machine.bin / f"python{VERSION}").unlink()
    machine.put("python3", "echo 3.13")
    machine.put("apt-cache", f"case $2 in {known}) ;; *) exit 100 ;; esac")
    (line,) = machine.run().err
    assert line.startswith(f"Missing: Python 3.12 or 3.11 (found 3.13). Get it with: {command}")


def test_a_python_that_does_not_run_is_passed_over(machine):
    machine.put("python3.12", "exit 127")
    machine.put("python3.11", "exit 127")
    machine.put("python3", f'exec "{sys.executable}" "$@"')
    (machine.bin / "git").unlink()  # so that it ends here
    assert machine.run(PYTHON="/nowhere").err == only(f"git. Get it with: {APT} git")


@pytest.mark.parametrize(
    ("module", "content", "what", "command"),
    [
        ("ensurepip", "raise ImportError", f"venv and ensurepip of Python {VERSION}", f"{APT} python{VERSION}-venv"),
        ("ctypes", "CDLL = open", "libgomp.so.1, which lightgbm needs", f"{APT} libgomp1"),
        ("platform", "libc_ver = lambda: ('', '')", "a C library that wheels are built for (glibc)", CONTAINER),
    ],
)
def test_what_python_lacks_is_missed(machine, module, content, what, command):
    (machine.hidden / f"{module}.py").write_text(content)
    result = machine.run()
    assert (result.code, result.out) == (1, [])
    assert result.err == only(f"{what}. Get it with: {command}")
    assert not (machine.project / ".venv").exists()


@pytest.mark.parametrize("platform", ["Darwin arm64", "Linux riscv64", "Windows_NT x86_64"])
def test_an_unsupported_platform_is_told_the_way_out(machine, platform):
    machine.put("uname", f"echo {platform}")
    (line,) = machine.run().err
    assert (
        line
        == f"Missing: a supported platform (Linux on x86-64 or arm64; this is {platform}). Get it with: {CONTAINER}"
    )


def test_arm64_wants_python_3_12(machine):
    machine.put("uname", "echo Linux aarch64")
    machine.put("python3.12", "exit 127")
    machine.put("python3.11", "echo 3.11")
    (line,) = machine.run().err
    assert line.startswith("Missing: Python 3.12 (found 3.11). Get it with: ")


def test_all_that_is_missing_is_said_at_once(machine):
    (machine.bin / "git").unlink()
    (machine.hidden / "ensurepip.py").write_text("raise ImportError")
    (machine.hidden / "ctypes.py").write_text("")
    assert [re.match(r"Missing: (\w+)", line)[1] for line in machine.run().err] == ["git", "venv", "libgomp"]


def test_the_first_run_installs_and_the_next_starts_at_once(machine):
    first = machine.run()
    assert (first.code, first.out) == (0, ["the demo ran"])
    assert re.fullmatch(r"Installing training serving into .*/\.venv \(Python 3\.\d+\): takes a minute .*", *first.err)
    second = machine.run(PIP_FIND_LINKS="/nowhere")
    assert (second.code, second.out, second.err) == (0, ["the demo ran"], [])
    # What lies there now is ignored by the project's own git.
    subprocess.run(["git", "init", "--quiet"], cwd=machine.project, check=True)
    status = subprocess.run(["git", "status", "--porcelain"], cwd=machine.project, check=True, capture_output=True)
    assert b".venv" not in status.stdout


def test_only_a_lock_that_changed_is_installed_again(machine):
    assert machine.run().code == 0
    machine.lock("serving", "iniconfig")
    (line,) = machine.run().err
    assert line.startswith("Installing serving into ")


def test_an_installation_that_failed_is_repeated(machine):
    failed = machine.run(PIP_FIND_LINKS="/nowhere")
    assert (failed.code, failed.out) == (1, [])
    assert failed.err[-1] == "The locks could not be installed: pip says why above; the next run tries again"
    again = machine.run()
    assert again.out == ["the demo ran"]
    assert again.err[0].startswith("Installing training serving")


def test_an_installation_that_was_killed_is_repeated(machine):
    machine.put(f"python{VERSION}", f'if [ "$2" = venv ]; then kill -9 $PPID; exit; fi; exec "{sys.executable}" "$@"')
    assert machine.run().code == -9
    machine.put(f"python{VERSION}", f'exec "{sys.executable}" "$@"')
    assert machine.run().out == ["the demo ran"]


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [(("sha256:.{4}", "sha256:0000"), "DO NOT MATCH THE HASHES"), ((" --hash=.*", ""), "Hashes are required")],
    ids=["another hash", "no hash"],
)
def test_a_package_is_installed_only_by_its_hash(machine, spoil, complaint):
    for lock in (machine.project / "requirements").iterdir():
        lock.write_text(re.sub(*spoil, lock.read_text()))
    refused = machine.run()
    assert (refused.code, refused.out) == (1, [])
    assert complaint in "".join(refused.err)


def test_two_first_runs_at_once_share_one_installation(machine):
    both = [machine.start(), machine.start()]
    said = [process.communicate(timeout=120) for process in both]
    assert [out for out, _ in said] == ["the demo ran\n"] * 2
    assert "".join(err for _, err in said).count("Installing") == 1
    assert "".join(err for _, err in said).count("Waiting for another run") == 1


def test_a_moved_project_makes_its_environment_anew(machine):
    assert machine.run().code == 0
    machine.project = machine.project.rename(machine.project.with_name("moved"))
    moved = machine.run()
    assert (moved.out, moved.err[0].split(" (")[0]) == (
        ["the demo ran"],
        f"Installing training serving into {machine.project}/.venv",
    )


def test_a_named_environment_is_used_and_one_of_somebody_else_is_not_touched(machine, tmp_path):
    assert machine.run(ML_ENVIRONMENT=str(tmp_path / "shared")).out == ["the demo ran"]
    assert not (machine.project / ".venv").exists()
    (tmp_path / "home").mkdir()
    (tmp_path / "home/thesis.txt").write_text("years")
    refused = machine.run(ML_ENVIRONMENT=str(tmp_path / "home"))
    assert refused.code == 1
    assert refused.err == [
        f"{tmp_path}/home was not made by these scripts: remove it, or let ML_ENVIRONMENT name another folder"
    ]
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["thesis.txt"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory, project, wheels, environment):
    """A machine after installation, with tools that only say how they were called."""
    machine = a_machine(tmp_path_factory.mktemp("checks"), project, wheels, environment)
    assert machine.run().code == 0
    for tool in ("ruff", "mypy", "pytest"):
        (machine.project / ".venv/bin" / tool).write_text(
            f'#!/bin/sh\necho {tool} "$@"\n[ "{tool}" != "${{BROKEN-}}" ]\n'
        )
        (machine.project / ".venv/bin" / tool).chmod(0o755)
    return machine


def test_the_demo_passes_its_arguments_its_verdict_and_no_telemetry_on(installed):
    (installed.project / "ml/__main__.py").write_text(
        "import os, sys\ndef main():\n    print(*sys.argv[1:], *map('='.join, os.environ.items()))\n    sys.exit(7)\n"
    )
    result = installed.run("demo", "--fast")
    assert result.code == 7
    words = " ".join(result.out).split()
    assert words[:2] == ["demo", "--fast"]
    # BentoML takes only the word, the others take anything.
    quiet = {"ORT_DISABLE_TELEMETRY=1", "WHYLOGS_NO_ANALYTICS=1", "GX_ANALYTICS_ENABLED=false", "DO_NOT_TRACK=true"}
    assert quiet | {"BENTOML_DO_NOT_TRACK=True"} <= set(words)


def test_the_tiers_of_the_tests(installed):
    lint = ["ruff check", "ruff format --check", "mypy"]
    passed = "Passed: lint, format, types, tests"
    tests = "pytest -n 2 --dist loadfile --no-loadscope-reorder"
    assert installed.run("test").out == [*lint, f"{tests} -m not slow", passed]
    assert installed.run("test", "--all").out == [*lint, f"{tests} --durations=20", passed]
    assert installed.run("test", "--all", "tests/a b.py", "-x").out[3] == f"{tests} --durations=20 tests/a b.py -x"
    assert installed.run("test", "--", "-x").out[3] == f"{tests} -m not slow -x"


@pytest.mark.parametrize(("tool", "steps"), [("ruff", "lint format"), ("mypy", "types"), ("pytest", "tests")])
def test_a_check_that_fails_is_named_and_hides_no_other(installed, tool, steps):
    result = installed.run("test", BROKEN=tool)
    assert (result.code, result.err[-1]) == (1, f"Failed: {steps}")
    assert len(result.out) == 4


@pytest.mark.parametrize("scripts", [ROOT / "scripts", TEMPLATE / "scripts"], ids=["template", "project"])
def test_an_unknown_flag_and_a_call_for_help_are_answered_in_one_line(scripts):
    wrong = subprocess.run([scripts / "test", "--al"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert re.fullmatch(r"Unknown.* --al; usage: scripts/test \[--all\].*\n", wrong.stderr)
    asked = subprocess.run([scripts / "test", "--help"], capture_output=True, text=True, check=False)
    assert (asked.returncode, asked.stderr) == (0, "")
    assert re.fullmatch(r"usage: scripts/test \[--all\].*\n", asked.stdout)


def test_locking_says_that_it_needs_uv(machine):
    result = machine.run("lock")
    assert (result.code, result.out, result.err) == (1, [], ["scripts/lock needs uv: pip install uv"])


STEPS = ["cluster up --kubernetes kindest/node@sha256:0 --profile full", "pipeline run", "release", "cluster deploy"]
STEPS += ["cluster smoke", "cluster rehearse", "cluster down"]


@pytest.mark.parametrize("broken", [None, "release", "cluster rehearse"])
def test_the_way_to_the_cluster_goes_verb_by_verb_and_ends_where_one_fails(machine, broken):
    told = f"print(said) or sys.exit(said == {broken!r} or os.environ['ML_RELEASE_ENVIRONMENT'] != 'kind')"
    main = f"import os, sys\ndef main():\n    said = ' '.join(sys.argv[1:])\n    {told}\n"
    (machine.project / "ml/__main__.py").write_text(main)
    result = machine.run("cluster", "--profile", "full", NODE_IMAGE="kindest/node@sha256:0")
    assert result.out == STEPS[: STEPS.index(broken) + 1 if broken else None]
    assert result.code == (1 if broken else 0)


@pytest.mark.parametrize("scripts", [ROOT / "scripts", TEMPLATE / "scripts"], ids=["template", "project"])
def test_who_asks_for_help_gets_no_cluster(scripts):
    asked = subprocess.run([scripts / "cluster", "--help"], capture_output=True, text=True, check=False)
    assert (asked.returncode, asked.stderr) == (0, "")
    assert re.fullmatch(r"usage: .*scripts/cluster .*\n", asked.stdout)
