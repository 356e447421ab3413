"""The template's tests generate projects without a look at, or a trace in, the home of whoever runs them."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from chart_rendering import CUSTOM, SCENARIOS, SERVING, knowing, render
from cookiecutter.main import cookiecutter

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "{{cookiecutter.project_slug}}"


@pytest.fixture(scope="session")
def home(tmp_path_factory) -> Path:
    """Where git's and cookiecutter's settings, answers and clones are, instead of the user's home."""
    home = tmp_path_factory.mktemp("home")
    (home / "config.yaml").write_text(f"cookiecutters_dir: '{home}/clones'\nreplay_dir: '{home}/replay'\n")
    return home


@pytest.fixture(scope="session")
def environment(home) -> dict[str, str]:
    """What a newcomer's shell has: a git identity, and nothing of these tests' settings."""
    ours = ("ML_", "PYTHON", "PYTEST", "RUFF_", "MYPY_", "HYPOTHESIS_", "VIRTUAL_ENV", "COOKIECUTTER", "GIT_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    git = {"GIT_CONFIG_GLOBAL": str(home / "gitconfig"), "GIT_CONFIG_NOSYSTEM": "1"}
    # The checkout may belong to another user, as in a container.
    (home / "gitconfig").write_text("[user]\nname = Ada\nemail = ada@example.org\n[safe]\ndirectory = *\n")
    return kept | git | {"COOKIECUTTER_CONFIG": str(home / "config.yaml")}


@pytest.fixture(scope="session")
def run(environment) -> Callable[..., str]:
    """Run a command in a folder; return what it printed, and fail with it if the command fails."""

    def run(*command: str | Path, cwd: Path) -> str:
        done = subprocess.run(command, cwd=cwd, env=environment, text=True, capture_output=True, check=False)
        assert done.returncode == 0, f"{command} in {cwd}: {done.stdout}{done.stderr}"
        return done.stdout

    return run


@pytest.fixture(scope="session")
def generate(home) -> Callable[..., Path]:
    """Generate a project: from a template (a path or a git URL) into a folder, with answers."""

    def generate(template: str | Path, into: Path, **answers: str) -> Path:
        config = str(home / "config.yaml")
        return Path(
            cookiecutter(str(template), no_input=True, extra_context=answers, output_dir=str(into), config_file=config)
        )

    return generate


@pytest.fixture(scope="session")
def project(generate, tmp_path_factory) -> Path:
    """The project that the template's defaults make."""
    return generate(ROOT, tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def repository(run, tmp_path_factory) -> Path:
    """A git repository with one commit of the template as it is on disk, committed or not."""
    # Cookiecutter takes an address for git's only when it says so.
    copy = tmp_path_factory.mktemp("repository") / "template.git"
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in listed.split("\0"):
        if name and os.path.lexists(ROOT / name):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
    run("git", "init", "--quiet", "--initial-branch", "main", cwd=copy)
    run("git", "add", "--all", cwd=copy)
    run("git", "commit", "--quiet", "--message", "The template", cwd=copy)
    return copy


@pytest.fixture(scope="session")
def charts(tmp_path_factory) -> Path:
    """The charts, as a cluster that has all that they may ask for would let them be rendered."""
    return knowing(tmp_path_factory.mktemp("charts"), CUSTOM)


@pytest.fixture(params=SERVING)
def scenario(request) -> str:
    """Each scenario of the serving chart."""
    return request.param


@pytest.fixture(scope="session")
def rendered(charts) -> dict[str, list[dict]]:
    """The manifests of every scenario."""
    return {name: render(charts / each.chart, each.values) for name, each in SCENARIOS.items()}
