"""The charts before anything is deployed: what helm is asked of them, for whom, and what is made of a refusal.

Here helm is a stand-in; the template's tests let Helm 3 and Helm 4 themselves answer.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, configured
from stand_ins import Call, StandIns, stand_ins  # noqa: F401

from ml.cluster.target import served
from ml.contract import release
from ml.contract.release import Release
from ml.delivery import charts
from ml.doctor.kubernetes import SWITCHES

IMAGE = f"registry.example.org/churn-serving@sha256:{'d' * 64}"


@pytest.fixture
def helm(stand_ins: StandIns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIns]:  # noqa: F811
    """A helm that finds nothing wrong, and values for two environments: staging, and kind."""
    stand_ins.put("helm")
    for name in ("staging", "kind"):
        (tmp_path / "environments" / name).mkdir(parents=True)
        (tmp_path / "environments" / name / "values.yaml").touch()
    monkeypatch.setattr(charts, "CHARTS", tmp_path / "charts")  # without examples, which take their time
    with configured(ML_RELEASE_FOLDER=tmp_path / "environments", ML_PROJECT_SLUG="churn"):
        yield stand_ins


def templates(helm: StandIns, environment: str) -> list[Call]:
    """Return how helm was asked to render what an environment would get."""
    named = f"environment={environment}"
    return [call for call in helm.calls if call.words[0] == "template" and named in call.words]


def test_every_example_is_linted_strictly_and_rendered_for_the_oldest_and_the_newest_kubernetes(
    helm: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charts, "CHARTS", ROOT / "charts")
    assert charts.dry_run(None) == 0
    examples = sorted(str(values) for values in ROOT.glob("charts/*/ci/*.yaml"))
    for words in (["lint", "--strict", "1.33"], ["template", "churn", "1.33"], ["template", "churn", "1.37"]):
        asked = [call.words for call in helm.calls if set(words) <= set(call.words)]
        values = {each[each.index("--values") + 1]: each for each in asked}
        assert set(examples) <= set(values)
        assert all(f"{ROOT}/charts/{Path(each).parts[-3]}" in values[each] for each in examples)
    assert {chart.name for chart in (ROOT / "charts").iterdir()} == {Path(each).parts[-3] for each in examples}


def test_an_environment_is_rendered_with_what_is_deployed_to_it(helm: StandIns, tmp_path: Path) -> None:
    release.write(Release(champion="a" * 64, images={"serving": IMAGE}), "staging")
    assert charts.dry_run(None) == 0
    folder = tmp_path / "environments" / "staging"
    for call in templates(helm, "staging"):
        given = served(folder / "values.yaml", folder / "release.yaml", {"serving": IMAGE})
        assert " ".join(given) in str(call)
        assert "--namespace churn-staging" in str(call)
        assert {api for _, _, api, _ in SWITCHES} <= set(call.words)
    assert len(templates(helm, "staging")) == len(templates(helm, "kind")) == 2


def test_what_is_not_released_or_not_built_yet_has_something_in_its_place(helm: StandIns) -> None:
    release.write(Release(champion="a" * 64), "kind")  # `ml cluster deploy` gives the images
    assert charts.dry_run(None) == 0
    assert f"/kind/{release.NAME}" in str(templates(helm, "kind")[0])
    for environment in ("staging", "kind"):
        words = templates(helm, environment)[0].words
        named = dict(word.removeprefix("images.").split("=") for word in words if word.startswith("images."))
        assert Release(champion="a" * 64, images=named).images.keys() == {"serving", "training", "stream"}
    assert release.parse(release.text(charts.NOTHING).encode(), "nothing") == charts.NOTHING


def test_what_helm_refuses_is_told_once_for_each_with_what_helm_says(
    helm: StandIns, capsys: pytest.CaptureFixture[str]
) -> None:
    helm.put("helm", ("^lint .*staging", "[ERROR] route.gateway:\n is empty", 1), ("^template .*kind", "", 1))
    assert charts.dry_run(None) == 2
    told = capsys.readouterr().out
    assert "helm lint refuses charts/serving" in told
    assert "staging/values.yaml: [ERROR] route.gateway: is empty. Edit " in told
    assert "helm template refuses charts/serving" in told
    helm.put("helm")
    assert charts.dry_run(None) == 0


def test_a_release_that_is_broken_fails_its_environment_and_no_other(helm: StandIns) -> None:
    (release.file("staging")).write_text(yaml.safe_dump({"champion": "latest"}))
    assert charts.dry_run(None) == 1
    assert charts.dry_run("kind") == 0


def test_an_environment_without_values_and_a_machine_without_helm_are_told(
    helm: StandIns, capsys: pytest.CaptureFixture[str]
) -> None:
    assert charts.dry_run("production") == 1
    assert "production/values.yaml is not there" in capsys.readouterr().out
    (helm.folder / "helm").unlink()
    assert charts.dry_run(None) == 1
    assert "helm is not there. Get it with: curl" in capsys.readouterr().out
