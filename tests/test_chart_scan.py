"""A scanner of misconfigurations looks at all that the charts make; what we do not follow has a reason here."""

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

TRIVY = Path(sys.executable).with_name("trivy")
WHY_NOT = {
    "KSV-0011": "a limit of CPU throttles, which is tail latency",
    "KSV-0039": "a LimitRange is the namespace's; the training chart has one",
    "KSV-0040": "a ResourceQuota is the namespace's; the training chart has one",
    "KSV-0048": "it takes Kubeflow's `jobs` (recurring runs) for those of batch",
    "KSV-0109": "ML_SERVE_SECRETS is the path of a folder",
    "KSV-01010": "ML_STREAM_METRICS_PORT is a port",
    "KSV-0110": "the namespace is given when a chart is installed",
    "KSV-0113": "Kubeflow's launcher reads one Secret, by its name",
    "KSV-0125": "which registries are trusted, the cluster says",
}
pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="no wheel of trivy")


def scanned(folder: Path) -> dict[str, list[str]]:
    """Return what trivy finds in a folder of manifests, offline: messages by check."""
    cache = ("--cache-dir", folder.with_name("cache"))
    quiet = ("--quiet", "--skip-check-update", "--skip-version-check", *cache)
    command = [TRIVY, "config", *quiet, "--format", "json", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    results = json.loads(done.stdout)["Results"]
    assert len(results) == len(list(folder.iterdir())), "each file was looked at"
    found: dict[str, list[str]] = {}
    for result in results:
        for each in result.get("Misconfigurations", []):
            found.setdefault(each["ID"], []).append(f"{result['Target']}: {each['Message']}")
    return found


@pytest.fixture(scope="module")
def findings(rendered, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan") / "manifests"
    folder.mkdir()
    for name, manifests in rendered.items():
        (folder / f"{name.replace('/', '-')}.yaml").write_text(yaml.safe_dump_all(manifests))
    return scanned(folder)


def test_the_scanner_finds_nothing_but_what_is_explained(findings):
    assert {check: said[:3] for check, said in findings.items() if check not in WHY_NOT} == {}


def test_nothing_is_explained_that_the_scanner_does_not_find(findings):
    assert set(WHY_NOT) - set(findings) == set()


def test_the_scanner_sees_what_is_wrong(rendered, tmp_path):
    (tmp_path / "manifests").mkdir()
    (pod,) = [each for each in rendered["serving/kind"] if each["kind"] == "Pod"]
    privileged = json.loads(json.dumps(pod))
    privileged["spec"]["containers"][0]["securityContext"]["privileged"] = True
    (tmp_path / "manifests" / "pod.yaml").write_text(yaml.safe_dump(privileged))
    assert "KSV-0017" in scanned(tmp_path / "manifests")
