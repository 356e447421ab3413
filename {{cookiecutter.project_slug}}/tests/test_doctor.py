"""Every check of `ml doctor` is made to fail once, for real where that can be, and names what mends it."""

import http.server
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, configured, ml
from stand_ins import StandIns, stand_ins  # noqa: F401

from ml.cluster.target import Target
from ml.doctor import github, kubernetes, laptop
from ml.doctor.check import Doubt, examine
from ml.errors import ContractError
from ml.github import api as speaking
from ml.github import repository as place

WELL = {
    "": {"default_branch": "main"},
    "/actions/secrets": {"secrets": []},
    "/actions/variables": {"variables": []},
    "/actions/permissions/workflow": {"can_approve_pull_request_reviews": True},
    "/environments": {"environments": [{"name": "staging"}]},
    "/rules/branches/main": [{"type": "pull_request"}],
    "/branches/main": {"protected": False},
}


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the checks take for the project's."""
    root = tmp_path / "project"
    root.mkdir()
    for module in (laptop, github, place):
        monkeypatch.setattr(module, "ROOT", root)
    for name in ("GITHUB_REPOSITORY", "GITHUB_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(github, "WORKFLOWS", root / ".github" / "workflows")
    return root


@pytest.fixture
def repository(elsewhere: Path) -> Path:
    """The same, a git repository with a remote and a committed workflow."""
    (elsewhere / ".github" / "workflows").mkdir(parents=True)
    (elsewhere / ".github" / "workflows" / "ci.yml").write_text("on:\n  workflow_dispatch:\n")
    git(elsewhere, "init", "--quiet")
    git(elsewhere, "remote", "add", "origin", "git@github.com:ada/churn.git")
    git(elsewhere, "add", ".")
    return elsewhere


@pytest.fixture
def api(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """GitHub's API as a small server of our own that answers what a test puts into this; a number is a status."""
    answers: dict[str, Any] = dict(WELL)

    class Api(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.path.partition("?")[0].removeprefix("/repos/ada/churn")
            known = self.headers["authorization"] == "Bearer a-token"
            told = answers.get(asked, 404) if known else 401
            self.send_response(told if isinstance(told, int) else 200)
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("GITHUB_API_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("GITHUB_TOKEN", "a-token")
        yield answers
        server.shutdown()


SERVER = json.dumps({"serverVersion": {"major": "1", "minor": "36+", "gitVersion": "v1.36.1"}})
LABELLED = json.dumps({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}})
VALUES = """
environment: staging
images: {serving: "registry/serving@sha256:0"}
store: {url: s3://bucket/project, secret: store}
secrets: ml-secrets
pullSecrets: [pull]
"""


@pytest.fixture
def cluster(stand_ins: StandIns, tmp_path: Path) -> Iterator[StandIns]:  # noqa: F811
    """A cluster on which nothing is wrong, as far as a kubectl of our own answers for one; and values for it."""
    (tmp_path / "environments" / "staging").mkdir(parents=True)
    (tmp_path / "environments" / "staging" / "values.yaml").write_text(VALUES)
    answers(stand_ins)
    stand_ins.put("helm")
    where = {"ML_RELEASE_FOLDER": tmp_path / "environments", "ML_RELEASE_ENVIRONMENT": "staging"}
    with configured(ML_PROJECT_SLUG="churn", **where):
        yield stand_ins


def answers(stand_ins: StandIns, *first: tuple[str, str, int]) -> None:  # noqa: F811
    """Let kubectl answer as a cluster does on which nothing is wrong, but for what comes first."""
    stand_ins.put("kubectl", *first, ("version --output", SERVER, 0), ("get namespace", LABELLED, 0), ("", "v1", 0))


def asked(text: str = VALUES, context: str = "there") -> kubernetes.Asked:
    return kubernetes.Asked(Target(context, "churn", "churn"), yaml.safe_load(text))


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-C", folder, *words], check=True, capture_output=True)


def broken(check: Callable[..., str], *given: Any) -> str:
    """Return what a check says that fails."""
    with pytest.raises(ContractError) as error:
        check(*given)
    assert not isinstance(error.value, Doubt)
    return str(error.value)


def doubted(check: Callable[..., str], *given: Any) -> str:
    with pytest.raises(Doubt) as doubt:
        check(*given)
    return str(doubt.value)


def test_nothing_is_wrong_with_the_machine_that_runs_these_tests(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        free = one.getsockname()[1], other.getsockname()[1]
    ran = ml("doctor", ML_STORE_URL=tmp_path, ML_SERVE_PORT=free[0], ML_SERVE_OUTCOMES_PORT=free[1])
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
    lines = ran.stdout.splitlines()
    assert len(lines) == len(laptop.CHECKS) + 1
    assert lines[-1] == "doctor    laptop: none of the checks failed"
    assert {line.split()[0] for line in lines[:-1]} <= {"right", "doubt"}


def test_all_that_is_wrong_is_told_at_once_and_fails(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = {"ML_STORE_URL": "/proc/store", "ML_SERVE_PORT": taken.getsockname()[1]}
        ran = ml("doctor", "laptop", **where)
    wrong = [line for line in ran.stdout.splitlines() if line.startswith("wrong ")]
    assert ran.returncode == 1
    assert [line.split()[1] for line in wrong] == ["disk:", "store:", "ports:"]
    assert "3 of the checks failed" in ran.stdout


def test_a_doubt_is_told_and_fails_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    def doubtful() -> str:
        raise Doubt("sun", "it may rain", "Take a coat")

    assert examine([doubtful, lambda: "it is warm"]) == 0
    assert capsys.readouterr().out == "doubt     sun: it may rain. Take a coat\nright     it is warm\n"


def test_another_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(laptop, "PYTHONS", ((2, 7),))
    assert broken(laptop.python).endswith("PYTHON=python3.12 scripts/demo")


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(laptop, "DISK", 10**9)
    assert "1000000000 are wanted. Free some" in broken(laptop.disk)


def test_little_memory_is_doubted(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  1048576 kB\nMemAvailable:  524288 kB\n")
    assert "0.5 GB are free" in doubted(laptop.memory, tmp_path / "meminfo")


@pytest.mark.parametrize(("pin", "there"), [("pydantic==1.0", "pydantic is "), ("no-such==1.0", "no-such is absent")])
def test_what_is_installed_otherwise_than_locked_is_named(pin: str, there: str, elsewhere: Path) -> None:
    (elsewhere / "requirements").mkdir()
    for lock in laptop.LOCKS:
        (elsewhere / "requirements" / f"{lock}.txt").write_text(f"{pin} \\\n    --hash=sha256:00\n")
    assert there in broken(laptop.locks)
    (elsewhere / "requirements" / "serving.txt").write_text("no-such==1.0 ; sys_platform == 'win32' \\\n")
    (elsewhere / "requirements" / "training.txt").write_text("")
    assert laptop.locks().startswith("1 packages")


def test_a_store_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for store in ("/proc/store", tmp_path / "file", "http://127.0.0.1:9/store"):
        with configured(ML_STORE_URL=store):
            assert "See [store]" in broken(laptop.store)
    with configured(ML_STORE_URL=tmp_path / "store"):
        laptop.store()
        assert list((tmp_path / "store").iterdir()) == []


@pytest.mark.parametrize("name", ["port", "outcomes_port"])
def test_a_taken_port_is_named_with_its_setting(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        ports = {"port": free.getsockname()[1], "outcomes_port": free.getsockname()[1]}
        ports[name] = taken.getsockname()[1]
        free.close()
        with configured(ML_SERVE_PORT=ports["port"], ML_SERVE_OUTCOMES_PORT=ports["outcomes_port"]):
            told = broken(laptop.ports)
    assert f"sport = :{ports[name]}" in told
    assert f"[serve] {name} in" in told


def test_charts_that_a_zip_archive_lost_are_missed(elsewhere: Path) -> None:
    (elsewhere / "charts").write_text("../charts")  # what is left of a link
    assert "git clone -c core.symlinks=true" in broken(laptop.charts)


def test_a_project_outside_of_git_is_doubted_and_no_git_at_all_is_wrong(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "is no repository" in doubted(laptop.git)
    git(elsewhere, "init", "--quiet")
    laptop.git()
    monkeypatch.setenv("PATH", str(elsewhere))
    assert "apt-get install -y git" in broken(laptop.git)


def test_a_repository_without_a_remote_is_told_how_to_get_one(repository: Path) -> None:
    assert github.origin() == "origin is ada/churn"
    git(repository, "remote", "set-url", "origin", "https://github.com/ada/churn.js/")
    assert github.origin() == "origin is ada/churn.js"
    git(repository, "remote", "remove", "origin")
    assert "gh repo create" in broken(github.origin)


def test_workflows_that_are_absent_or_not_committed_are_told(repository: Path) -> None:
    assert github.workflows() == "1 workflows are there: ci.yml"
    (repository / ".github" / "workflows" / "new.yml").touch()
    assert "new.yml is not committed" in broken(github.workflows)
    shutil.rmtree(repository / ".github")
    assert "holds none" in broken(github.workflows)


def test_gh_that_is_not_logged_in_is_told(stand_ins: StandIns) -> None:  # noqa: F811
    assert "is not there" in doubted(github.login)
    stand_ins.put("gh", ("auth status", "", 1))
    assert broken(github.login).endswith("gh auth login")
    stand_ins.put("gh")
    assert github.login() == "gh is logged in"


def test_without_a_token_one_line_says_how(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    assert [check.__name__ for check in github.checks()] == ["origin", "workflows", "owners", "login", "token"]
    assert doubted(github.checks()[-1]).endswith("GITHUB_TOKEN=$(gh auth token) ml doctor github")


def app(api: dict[str, Any], *known: str) -> None:
    """Give the repository the app's secret and variable, or one of them."""
    for kind, name in (("secrets", speaking.APP_KEY), ("variables", speaking.APP_ID)):
        api[f"/actions/{kind}"] = {kind: [{"name": name}] if name in known else []}


def test_settings_as_they_should_be_are_right(api: dict[str, Any]) -> None:
    app(api, speaking.APP_KEY, speaking.APP_ID)
    api["/actions/variables"]["variables"] += [{"name": name} for name in github.SWITCHES]
    with configured(ML_SIGNING_BY="github"):
        assert len([check() for check in github.checks()[4:]]) == 5


def test_a_key_that_is_not_there_for_workflows_or_for_those_who_prove_is_told(
    api: dict[str, Any], repository: Path
) -> None:
    file = repository / "environments" / "signing.pem"
    with configured(ML_RELEASE_FOLDER=file.parent, ML_SIGNING_BY="key"):
        assert "signing.pem is not committed" in broken(github.signing)
        file.parent.mkdir()
        file.touch()
        assert "signing.pem is not committed" in broken(github.signing)
        git(repository, "add", ".")
        assert "gh secret set SIGNING_KEY --env delivery < " in broken(github.signing)
        api["/environments/delivery/secrets"] = {"secrets": [{"name": "SIGNING_KEY"}]}
        assert github.signing().endswith("by the secret SIGNING_KEY")


def test_github_is_asked_nothing_of_a_repository_that_is_not_there(api: dict[str, Any], repository: Path) -> None:
    assert len(github.checks()) == 9
    git(repository, "remote", "remove", "origin")
    assert [check.__name__ for check in github.checks()] == ["origin", "workflows", "owners", "login"]


def test_workflows_that_may_open_no_pull_requests_are_told(api: dict[str, Any]) -> None:
    assert github.pull_requests().endswith("ci.yml is started for each")
    api["/actions/permissions/workflow"] = {"can_approve_pull_request_reviews": False}
    assert "github.com/ada/churn/settings/actions" in broken(github.pull_requests)


@pytest.mark.parametrize("half", [speaking.APP_KEY, speaking.APP_ID])
def test_half_of_an_app_is_told(api: dict[str, Any], half: str) -> None:
    app(api, half)
    assert f"there is {half} alone. Give both" in broken(github.pull_requests)


def test_a_key_that_only_the_workflows_own_environment_has_is_seen(api: dict[str, Any]) -> None:
    app(api, speaking.APP_ID)
    api["/environments/delivery/secrets"] = {"secrets": [{"name": speaking.APP_KEY}]}
    assert "opened by the app" in github.pull_requests()


@pytest.mark.parametrize("name", github.SWITCHES)
def test_a_variable_without_which_a_workflow_does_nothing_is_doubted(api: dict[str, Any], name: str) -> None:
    api["/actions/variables"] = {"variables": [{"name": each} for each in github.SWITCHES if each != name]}
    assert f"there is no {name}: " in doubted(github.switches)


def test_pull_requests_that_nothing_checks_are_told(api: dict[str, Any], repository: Path) -> None:
    (repository / ".github" / "workflows" / "ci.yml").write_text("on: push\n")
    assert "Add `workflow_dispatch:` to ci.yml" in broken(github.pull_requests)
    app(api, speaking.APP_KEY, speaking.APP_ID)
    assert "opened by the app" in github.pull_requests()


def test_an_environment_that_github_does_not_know_is_named(api: dict[str, Any], repository: Path) -> None:
    for name in ("kind", "staging", "production"):
        (repository / "environments" / name).mkdir(parents=True)
        (repository / "environments" / name / "values.yaml").touch()
    with configured(ML_RELEASE_FOLDER="environments"):
        assert "production is not there. Make it: https://github.com/ada/churn/" in broken(github.environments)
        api["/environments"] = {"environments": [{"name": "staging"}, {"name": "production"}]}
        assert github.environments().endswith("production, staging")


def test_a_branch_that_anybody_may_push_to_is_told(api: dict[str, Any]) -> None:
    api["/rules/branches/main"] = []
    assert "anybody who can push may change main" in broken(github.protection)
    api["/branches/main"] = {"protected": True}
    github.protection()


@pytest.mark.parametrize("status", [403, 404])
def test_what_a_token_may_not_see_is_doubted(api: dict[str, Any], status: int) -> None:
    api["/environments"] = status
    assert "Give GITHUB_TOKEN read access" in doubted(github.environments)


def test_a_token_that_is_refused_and_a_server_that_is_gone_are_told(
    api: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "another")
    assert "answers 401: 401. Is GITHUB_TOKEN still valid?" in broken(github.protection)
    monkeypatch.setenv("GITHUB_API_URL", "http://127.0.0.1:9")
    assert "does not answer" in broken(github.protection)


def test_nothing_is_wrong_with_a_cluster_as_it_should_be(cluster: StandIns) -> None:
    ran = ml("doctor", "cluster", "--context", "there")
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
    lines = [line.split()[0] for line in ran.stdout.splitlines() if not line.startswith("ask")]
    assert lines == ["right"] * 8 + ["doctor"]
    assert {tuple(call.words[:4]) for call in cluster.calls} == {("--context", "there", "--namespace", "churn")}


def test_tools_that_are_missing_are_told_with_what_gets_them(cluster: StandIns) -> None:
    (cluster.folder / "helm").unlink()
    ran = ml("doctor", "cluster")
    assert ran.returncode == 1
    assert "wrong     cluster: helm is not there. Get it with: curl" in ran.stdout


def test_a_cluster_that_does_not_answer_is_told(cluster: StandIns) -> None:
    answers(cluster, ("/readyz", "", 1))
    assert "there does not answer. kubectl config get-contexts" in broken(kubernetes.reachable, asked())


@pytest.mark.parametrize(
    ("minor", "told"), [("32", "Upgrade to 1.33"), ("33+", ""), ("37", ""), ("38", "is newer than")]
)
def test_kubernetes_is_neither_older_nor_newer_than_the_charts(cluster: StandIns, minor: str, told: str) -> None:
    version = {"serverVersion": {"major": "1", "minor": minor, "gitVersion": f"v1.{minor}.0"}}
    answers(cluster, ("version --output", json.dumps(version), 0))
    if not told:
        assert kubernetes.version(asked()) == f"Kubernetes v1.{minor}.0"
    else:
        assert told in (broken if minor == "32" else doubted)(kubernetes.version, asked())


@pytest.mark.parametrize(("path", "on", "api", "what"), kubernetes.SWITCHES)
def test_a_switched_on_value_names_what_has_to_be_installed(
    cluster: StandIns, path: str, on: object, api: str, what: str
) -> None:
    table, key = path.split(".")
    values = yaml.safe_dump({table: {key: on}})
    assert f"{path} needs {api}. Install {what}, or switch it off" in broken(kubernetes.apis, asked(values))
    answers(cluster, ("api-versions", f"apps/v1\n{api}", 0))
    assert kubernetes.apis(asked(values)).startswith("1 ")
    off = yaml.safe_dump({table: {key: not on if on is True else ""}})
    assert kubernetes.apis(asked(off)).startswith("0 ")


def test_every_value_that_is_looked_at_is_one_of_the_chart() -> None:
    chart = kubernetes.Asked(Target("", "", ""), yaml.safe_load((ROOT / "charts/serving/values.yaml").read_text()))
    paths = [path for path, *_ in kubernetes.SWITCHES] + [*kubernetes.SECRETS, "pullSecrets"]
    paths += [each for path, switches in kubernetes.IMAGES for each in (path, *switches)]
    assert [path for path in paths if chart.value(path) is None] == []
    schema = json.loads((ROOT / "charts/serving/values.schema.json").read_text())["properties"]
    scaled = schema["autoscaling"]["properties"]["by"]["enum"]
    assert sorted(on for path, on, *_ in kubernetes.SWITCHES if path == "autoscaling.by") == sorted(
        filter(None, scaled)
    )


def test_a_namespace_that_is_absent_or_takes_everything_is_told(cluster: StandIns) -> None:
    answers(cluster, ("get namespace", "", 1))
    assert "kubectl create namespace churn && kubectl label" in broken(kubernetes.restricted, asked())
    answers(cluster, ("get namespace", '{"metadata": {"name": "churn"}}', 0))
    assert "kubectl label --overwrite namespace churn" in broken(kubernetes.restricted, asked())


@pytest.mark.parametrize(
    ("name", "kind"), [("store", "generic"), ("ml-secrets", "generic"), ("pull", "docker-registry")]
)
def test_a_secret_that_values_name_and_nobody_made_is_told(cluster: StandIns, name: str, kind: str) -> None:
    answers(cluster, (f"get secret {name} ", "", 1))
    made = f"kubectl --namespace churn create secret {kind} {name} …, see docs/kubernetes.md"
    assert broken(kubernetes.secrets, asked()).endswith(f"there is no Secret {name}. {made}")


def test_all_that_is_absent_is_told_at_once(cluster: StandIns) -> None:
    answers(cluster, ("get secret", "", 1))
    assert "there is no Secret ml-secrets, store, pull." in broken(kubernetes.secrets, asked())
    more = asked(VALUES + "monitor: {enabled: true}\nstream: {enabled: true}")
    assert "images.training is not set, images.stream is not set" in broken(kubernetes.images, more)
    more = asked(VALUES + "route: {enabled: true}\nrollout: {enabled: true}")
    said = broken(kubernetes.apis, more)
    assert "route.enabled needs" in said
    assert "rollout.enabled needs" in said


def test_an_image_without_a_digest_is_told_where_it_is_needed(cluster: StandIns) -> None:
    tagged = VALUES.replace("@sha256:0", ":latest")
    assert "`ml image serving --push` tells its digest" in broken(kubernetes.images, asked(tagged))
    assert kubernetes.images(asked(tagged.replace("staging", "kind"))) == "`ml cluster deploy` names images by digest"
    assert "images.training is not set" in broken(kubernetes.images, asked(VALUES + "monitor: {enabled: true}"))


def test_an_environment_without_values_is_told(cluster: StandIns) -> None:
    with configured(ML_RELEASE_ENVIRONMENT="production"):
        assert "ML_RELEASE_ENVIRONMENT=kind" in broken(kubernetes.checks, None, None)
