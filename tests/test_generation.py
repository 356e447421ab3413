"""A project is the template's tree, byte for byte, with a name tag, however it is generated."""

import hashlib
import json
import os
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT, TEMPLATE
from cookiecutter.exceptions import FailedHookException

NAME_TAG = {Path("README.md"), Path("project.toml")}


def files(folder: Path) -> dict[Path, tuple[int, str]]:
    """Each file below, as seen through links: its permissions and the hash of its bytes."""
    found = {}
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if name != ".git"]
        for path in (Path(place, name) for name in names):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[path.relative_to(folder)] = (path.stat().st_mode & 0o777, digest)
    return found


def test_only_the_name_tag_is_rendered(project):
    template, generated = files(TEMPLATE), files(project)
    assert generated.keys() == template.keys()
    assert {path for path in generated if generated[path] != template[path]} == NAME_TAG


def test_the_name_tag_keeps_its_permissions_and_loses_its_braces(project):
    for path in NAME_TAG:
        assert (project / path).stat().st_mode == (TEMPLATE / path).stat().st_mode
        assert "cookiecutter" in (TEMPLATE / path).read_text()
        assert "{{" not in (project / path).read_text()


def test_scripts_stay_executable_and_charts_are_no_link(project):
    for script in ("demo", "test", "lock"):
        assert os.access(project / "scripts" / script, os.X_OK)
    assert not (project / "charts").is_symlink()


def test_the_default_name_tag_says_what_was_answered(project):
    tag = tomllib.loads((project / "project.toml").read_text())["project"]
    assert tag["name"] == "Flight Disruption"
    assert tag["slug"] == project.name == "flight-disruption"


@pytest.mark.parametrize("name", ["Ada's Model", "Prévision", "航班延误", "<b> & {curly} # 100 %", "$(id) `id`"])
def test_an_awkward_name_arrives_as_it_was_typed(generate, tmp_path, name):
    project = generate(ROOT, tmp_path, project_name=name, project_slug="awkward", description=f"{name}?")
    tag = tomllib.loads((project / "project.toml").read_text())["project"]
    assert tag == {"name": name, "slug": "awkward", "description": f"{name}?"}


def test_the_slug_follows_from_any_name(generate, tmp_path):
    assert generate(ROOT, tmp_path, project_name="Café d'Orsay (2)").name == "cafe-d-orsay-2"


@pytest.mark.parametrize("slug", ["a", "a" * 40, "churn-2", "a--b"])
def test_a_slug_that_kubernetes_takes_is_taken(generate, tmp_path, slug):
    assert generate(ROOT, tmp_path, project_slug=slug).name == slug


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        pytest.param({"project_slug": slug}, "project_slug", id=f"slug {why}")
        for slug, why in {
            "Churn": "with a capital",
            "churn_model": "with an underscore",
            "churn.model": "with a dot",
            "churn model": "with a space",
            "-churn": "with a dash first",
            "churn-": "with a dash last",
            "2churn": "with a digit first",
            "é": "with an accent",
            "a" * 41: "too long",
            "churn\n": "with a line break",
            'a"""b': "with quotes",
            "../churn": "outside the folder",
        }.items()
    ]
    + [
        pytest.param({"project_name": name, "project_slug": "churn"}, "project_name", id=f"name {why}")
        for name, why in {
            "": "empty",
            "  ": "blank",
            'a "b"': "with quotes",
            "a\\b": "with a backslash",
            "a\nb": "with a line break",
            "a\x00b": "with a control character",
            '""" + x': "that would end the hook's string",
        }.items()
    ]
    + [
        pytest.param({"description": text}, "description", id=f"description {why}")
        for text, why in {
            'say "hi"': "with quotes",
            "C:\\x": "with a backslash",
            "a\r\nb": "with a line break",
        }.items()
    ],
)
def test_a_bad_answer_is_refused_in_one_line_with_nothing_written(generate, tmp_path, capfd, answers, why):
    with pytest.raises(FailedHookException):
        generate(ROOT, tmp_path / "out", **answers)
    assert list(tmp_path.rglob("*")) in ([], [tmp_path / "out"])
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(why)


def test_a_slug_with_a_folder_in_it_leaves_no_file(generate, tmp_path):
    with pytest.raises(FailedHookException):
        generate(ROOT, tmp_path, project_slug="a/b")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_lost_charts_are_missed_and_the_way_out_is_named(generate, repository, run, tmp_path, capfd):
    run("git", "clone", "--quiet", "-c", "core.symlinks=false", repository.as_uri(), "lost", cwd=tmp_path)
    with pytest.raises(FailedHookException):
        generate(tmp_path / "lost", tmp_path / "out")
    assert "core.symlinks=true" in capfd.readouterr().err
    assert not list((tmp_path / "out").iterdir())


def test_the_same_files_from_here(generate, project, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert files(generate(".", tmp_path)) == files(project)


def test_the_same_files_from_a_git_address(generate, project, repository, tmp_path):
    assert files(generate(repository.as_uri(), tmp_path)) == files(project)


def test_the_same_files_through_cruft(project, repository, run, tmp_path):
    run("cruft", "create", repository.as_uri(), "--no-input", cwd=tmp_path)
    made = files(tmp_path / project.name)
    commit = run("git", "rev-parse", "HEAD", cwd=repository).strip()
    assert made.pop(Path(".cruft.json"))
    assert json.loads((tmp_path / project.name / ".cruft.json").read_text())["commit"] == commit
    assert made == files(project)


def test_cruft_update_brings_a_changed_template_and_keeps_an_edit(repository, run, tmp_path):
    def change(path: Path, old: str, new: str) -> None:
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    template = tmp_path / "template"
    run("git", "clone", "--quiet", repository.as_uri(), template.name, cwd=tmp_path)
    run("cruft", "create", template.as_uri(), "--no-input", cwd=tmp_path)
    mine = tmp_path / "flight-disruption"
    change(mine / "project.toml", "port = 3000", "port = 4000")
    (mine / "ml/problem/mine.py").write_text('"""Mine."""\n')
    run("git", "init", "--quiet", cwd=mine)
    run("git", "add", "--all", cwd=mine)
    run("git", "commit", "--quiet", "--message", "My edits", cwd=mine)

    theirs = template / TEMPLATE.name
    change(theirs / "project.toml", "# The name tag", "# The newer name tag")
    change(theirs / "charts/serving/Chart.yaml", "name: serving", "name: newer")
    (theirs / "scripts/newer").write_text("#!/bin/sh\n")
    (theirs / "scripts/newer").chmod(0o755)
    run("git", "add", "--all", cwd=template)
    run("git", "commit", "--quiet", "--message", "A newer template", cwd=template)
    run("cruft", "update", "--skip-apply-ask", cwd=mine)

    assert "# The newer name tag" in (mine / "project.toml").read_text()
    assert "name: newer" in (mine / "charts/serving/Chart.yaml").read_text()
    assert os.access(mine / "scripts/newer", os.X_OK)
    assert "port = 4000" in (mine / "project.toml").read_text()
    assert (mine / "ml/problem/mine.py").exists()
    assert not list(mine.rglob("*.rej"))
