"""What a newcomer does first, for real: nothing is installed before, and both commands work."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TEMPLATE


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_two_commands_work_on_a_fresh_clone(repository, generate, run, environment, tmp_path):
    # These tests' own environment would hide what the locks forgot.
    places = [place for place in environment["PATH"].split(os.pathsep) if Path(place) != Path(sys.prefix, "bin")]
    bare = environment | {"PATH": os.pathsep.join(places)}

    def succeeds(folder: Path, script: str, **variables: str) -> None:
        done = subprocess.run(
            [folder / "scripts" / script],
            env=bare | variables,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert done.returncode == 0, f"scripts/{script} in {folder}:\n{done.stdout}"

    project = generate(repository.as_uri(), tmp_path)
    succeeds(project, "demo")

    template = tmp_path / "template"
    run("git", "clone", "--quiet", repository.as_uri(), template.name, cwd=tmp_path)
    succeeds(template, "demo", ML_ENVIRONMENT=str(project / ".venv"))
    assert not run("git", "status", "--porcelain", cwd=template)
    assert not run("git", "status", "--porcelain", "--ignored", "--", TEMPLATE.name, cwd=template)

    succeeds(project, "test")
    shutil.rmtree(project / ".venv")  # a gigabyte, which pytest would keep
