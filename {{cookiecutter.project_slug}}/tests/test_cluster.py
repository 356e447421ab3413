"""The project's own cluster: what would be run, in which order, and what is made of answers and failures.

The tools are small executables of our own, first on PATH, that note how they were called. So this proves the plan and
the handling of errors; that a cluster comes of it, only a cluster proves (docs/cluster.md has the commands).
"""

import http.server
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, Client, Server, configured, copy_of_bundle, ml, one_line
from stand_ins import StandIns, stand_ins  # noqa: F401

from ml import processes
from ml.cluster import kind, machine, minikube
from ml.cluster.cluster import down, running, up
from ml.cluster.command import Command, beside
from ml.cluster.deploy import deploy, smoke
from ml.cluster.kind import Kind
from ml.cluster.load import load
from ml.cluster.minikube import Minikube
from ml.cluster.profile import PROFILES
from ml.cluster.rehearse import job, roll
from ml.cluster.target import ENFORCED, PROFILE, Target
from ml.cluster.ways import variables, way
from ml.contract import bundle as bundles
from ml.contract import release, secrets
from ml.contract.release import Release
from ml.doctor.check import Doubt
from ml.errors import ContractError
from ml.serving.server import free_port
from ml.settings import settings

DIGEST = f"sha256:{'d' * 64}"
CHURN = Kind("churn", "docker", 5001)
TARGET = Target("kind-churn", "churn", "churn")
MINI = Minikube("churn", "docker")
ALL = kind.Found(cluster=True, registry="true", joined=True, hosts=True)
HOST = json.dumps({"host": "localhost:5001"})
SPACE = json.dumps({"metadata": {"annotations": {PROFILE: "lite"}}})
HOSTING = json.dumps({"data": {"localRegistryHosting.v1": HOST}})


@pytest.fixture
def tools(stand_ins: StandIns, monkeypatch: pytest.MonkeyPatch) -> StandIns:  # noqa: F811
    """A machine with docker, kind, kubectl and helm, and without a cluster, and profiles that fit anywhere."""
    stand_ins.put("docker", ("version", "29", 0), ("inspect|exec .* cat", "", 1))
    stand_ins.put("kind", ("version", "kind v0.32.0 go1.26 linux/amd64", 0))
    stand_ins.put("kubectl", ("get secret", "", 1))
    stand_ins.put("helm")
    for name, profile in PROFILES.items():
        monkeypatch.setitem(PROFILES, name, profile._replace(cpus=1, memory_gb=0, disk_gb=0))
    monkeypatch.setenv("ML_PROJECT_SLUG", "churn")
    monkeypatch.setenv("ML_RELEASE_ENVIRONMENT", "kind")
    settings.cache_clear()
    return stand_ins


def made(tools: StandIns) -> None:
    """Let everything be there that `up` makes."""
    tools.put("kind", ("version", "kind v0.32.0", 0), ("get clusters", "churn", 0))
    running_, network = ("State.Running", "true", 0), ("Networks.kind", '{"IPAMConfig":null}', 0)
    told = ("exec .* cat", '[host."http://churn-registry:5000"]', 0)
    tools.put("docker", ("version", "29", 0), running_, network, told)
    contexts = ("get-contexts", "kind-other\nkind-churn", 0)
    tools.put("kubectl", contexts, ("get namespace", SPACE, 0), ("get configmap", HOSTING, 0), ("get secret", "{}", 0))


def changing(tools: StandIns) -> list[str]:
    """Return the calls that change something, in order."""
    asks = (" get ", "inspect", " version", " cat ", "config ", "status --output")
    return [str(call) for call in tools.calls if not any(each in str(call) for each in asks)]


def test_a_cluster_from_nothing_is_made_in_this_order() -> None:
    nothing = kind.Found(cluster=False, registry=None, joined=False, hosts=False)
    hosts = "/etc/containerd/certs.d/localhost:5001"
    assert list(map(str, CHURN.made_of(nothing, None))) == [
        "kind create cluster --name churn --wait 300s",
        "docker run --detach --restart always --network bridge --publish 127.0.0.1:5001:5000 --name churn-registry "
        + kind.REGISTRY,
        "docker network connect kind churn-registry",
        f"docker exec churn-control-plane mkdir -p {hosts}",
        f"docker exec -i churn-control-plane cp /dev/stdin {hosts}/hosts.toml",
    ]
    assert CHURN.made_of(nothing, None)[-1].reads == '[host."http://churn-registry:5000"]\n'


@pytest.mark.parametrize(
    ("found", "first"),
    [
        (ALL._replace(registry="false"), "docker start churn-registry"),
        (ALL._replace(joined=False), "docker network connect kind churn-registry"),
        (ALL._replace(hosts=False), "docker exec churn-control-plane mkdir"),
        (ALL._replace(cluster=False), "kind create cluster"),
        (ALL._replace(registry=None), "docker run --detach"),
    ],
)
def test_what_is_there_is_not_made_again(found: kind.Found, first: str) -> None:
    assert CHURN.made_of(ALL, None) == []
    commands = CHURN.made_of(found, None)
    assert str(commands[0]).startswith(first)
    assert len(commands) == (1 if found.hosts else 2)


def test_a_node_image_can_be_pinned_and_podman_is_told_to_kind() -> None:
    nothing = kind.Found(cluster=False, registry=None, joined=False, hosts=False)
    create, start, *_ = CHURN._replace(engine="podman").made_of(nothing, f"kindest/node@{DIGEST}")
    assert f"--image kindest/node@{DIGEST} --wait" in str(create)
    assert create.variables == {"KIND_EXPERIMENTAL_PROVIDER": "podman"}
    assert start.words[0] == "podman"


def test_the_registry_is_reached_from_this_machine_alone_and_pinned() -> None:
    nothing = kind.Found(cluster=False, registry=None, joined=False, hosts=False)
    (started,) = [each.words for each in CHURN.made_of(nothing, None) if "run" in each.words]
    assert [word for word in started if ":5000" in word] == ["127.0.0.1:5001:5000"]
    assert "@sha256:" in started[-1]


def test_minikube_gets_the_profiles_size_a_network_that_enforces_and_a_registry() -> None:
    nothing, full = minikube.Found(False, False), PROFILES["full"]
    assert list(map(str, MINI.made_of(nothing, full, "v1.33.1"))) == [
        "minikube --profile churn start --driver docker --cni calico --cpus 4 --memory 8192mb "
        "--kubernetes-version v1.33.1 --wait all",
        "minikube --profile churn addons enable registry",
    ]
    assert MINI.made_of(minikube.Found(True, True), full, None) == []
    assert (MINI.context, MINI.images) == ("churn", "localhost:5000")


def test_minikube_that_is_stopped_is_started_again(stand_ins: StandIns) -> None:  # noqa: F811
    stand_ins.put("minikube", ("status", '{"Host": "Stopped", "APIServer": "Stopped"}', 7))
    assert MINI.found() == minikube.Found(False, False)
    running_ = ("status", '{"Host": "Running", "APIServer": "Running"}', 0)
    stand_ins.put("minikube", running_, ("addons list", '{"registry": {"Status": "enabled"}}', 0))
    assert MINI.found() == minikube.Found(True, True)


def test_the_namespace_takes_restricted_pods_alone() -> None:
    space = TARGET.space("lite")
    assert space["metadata"]["labels"][ENFORCED] == "restricted"
    command = TARGET.apply(space)
    assert str(command) == "kubectl --context kind-churn --namespace churn apply --filename -"
    assert json.loads(command.reads)["items"] == [space]


def test_kubeflow_is_installed_without_parts_of_a_cloud_and_by_version() -> None:
    told = list(map(str, TARGET.kubeflow()))
    assert ["cluster-scoped-resources?ref=2.17.0" in told[0], "env/platform-agnostic?ref=2.17.0" in told[2]] == [
        True
    ] * 2
    assert "crd/applications.app.k8s.io --for condition=established" in told[1]
    assert all("--namespace kubeflow " in each for each in told)


def test_the_load_runs_restricted_and_asks_the_service_from_within() -> None:
    asking = job(TARGET, f"localhost:5001/churn-serving@{DIGEST}", {"a": 'quoted "text"'})
    pod = asking["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"][:2] == ["load", "http://churn"]
    assert json.loads(container["args"][2]) == {"a": 'quoted "text"'}
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert [each["mountPath"] for each in container["volumeMounts"]] == ["/var/ml/secrets"]
    assert [each["secret"]["secretName"] for each in pod["volumes"]] == ["ml-secrets"]
    assert asking["spec"]["backoffLimit"] == 0  # a load that is repeated would hide what was lost


def test_up_makes_cluster_namespace_and_platform(tools: StandIns) -> None:
    up(None, "lite", None)
    told = changing(tools)
    assert [call.partition(" --context")[0].partition(" --kube-context")[0].split(" --")[0] for call in told] == [
        "kind create cluster",
        "docker run",
        "docker network connect kind churn-registry",
        "docker exec churn-control-plane mkdir -p /etc/containerd/certs.d/localhost:5001",
        "docker exec -i churn-control-plane cp /dev/stdin /etc/containerd/certs.d/localhost:5001/hosts.toml",
        "kubectl",
        "kubectl",
        "kubectl",
        "helm",
    ]
    applied = [json.loads(call.read)["items"][0] for call in tools.calls if "apply" in call.words]
    assert [each["kind"] for each in applied] == ["Namespace", "ConfigMap", "Secret"]
    assert json.loads(applied[1]["data"]["localRegistryHosting.v1"])["host"] == "localhost:5001"
    assert "upgrade --install platform" in told[-1]
    assert (ROOT / "charts" / "platform" / "Chart.yaml").is_file()


def test_a_second_up_makes_nothing_twice(tools: StandIns) -> None:
    made(tools)
    up(None, "lite", None)
    told = changing(tools)
    assert [call.split()[0] for call in told] == [
        "kubectl",
        "kubectl",
        "helm",
    ]  # which change nothing that is so already
    assert not [call for call in tools.calls if "Secret" in call.read]  # its keys stay


def test_profiles_put_in_what_they_say(tools: StandIns) -> None:
    made(tools)
    installed = {}
    for profile in PROFILES:
        tools.clear()
        up(None, profile, None)
        told = " ".join(changing(tools))
        installed[profile] = ("install platform" in told, "kubeflow" in told)
    assert installed == {"none": (False, False), "lite": (True, False), "full": (True, True)}


def test_every_command_names_the_cluster_that_it_is_for(tools: StandIns) -> None:
    made(tools)
    up(None, "full", None)
    for call in tools.calls:
        if call.tool == "kubectl" and "config" not in call.words:
            assert call.words[:2] == ["--context", "kind-churn"], call
        if call.tool == "helm":
            assert call.words[:2] == ["--kube-context", "kind-churn"], call


def test_all_that_is_missing_is_told_at_once_with_the_command_that_gets_it(
    stand_ins: StandIns,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(PROFILES, "full", PROFILES["full"]._replace(cpus=4096, memory_gb=1, disk_gb=10**9))
    with pytest.raises(ContractError, match="6 things are missing"):
        up(None, "full", None)
    wrong = [line for line in capsys.readouterr().out.splitlines() if line.startswith("wrong ")]
    told = ["neither docker nor podman", "neither kind nor minikube", "kubectl is not there", "helm is not there"]
    for line, missing in zip(wrong, [*told, "of 4096", "of 1000000000 are free"], strict=True):
        assert missing in line
    assert all("Get it with: " in line for line in wrong[:4])
    assert stand_ins.calls == []


@pytest.mark.parametrize(("verb", "mend"), [("deploy", "ML_RELEASE_ENVIRONMENT=kind"), ("down", "Get it with: ")])
def test_a_verb_on_a_machine_without_anything_says_in_one_line_what_to_do(
    stand_ins: StandIns,  # noqa: F811
    verb: str,
    mend: str,
) -> None:
    assert mend in one_line(ml("cluster", verb))


def test_a_cluster_that_is_there_is_not_asked_for_room_again(tools: StandIns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROFILES, "lite", PROFILES["lite"]._replace(cpus=4096))
    made(tools)
    up(None, "lite", None)


def test_an_old_kind_and_an_engine_that_does_not_answer_are_told(stand_ins: StandIns) -> None:  # noqa: F811
    stand_ins.put("kind", ("version", "kind v0.20.0 go1.20 linux/amd64", 0))
    stand_ins.put("docker", ("version", "", 1))
    with pytest.raises(ContractError, match=r"kind v0\.20 is too old for Kubernetes 1\.33"):
        machine.has_maker(None)
    with pytest.raises(ContractError, match=r"does not answer.*sudo systemctl start docker"):
        machine.has_engine()
    stand_ins.put("podman", ("version", "5.0", 0))
    assert machine.engine() == "podman"


def test_kind_is_taken_where_both_are_there_and_minikube_where_it_is_asked_for(stand_ins: StandIns) -> None:  # noqa: F811
    stand_ins.put("minikube")
    assert machine.maker() == "minikube"
    stand_ins.put("kind")
    assert [machine.maker(), machine.maker("minikube")] == ["kind", "minikube"]


def test_a_small_machine_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"processors: \d+ of 4096"):
        machine.has_cpus(4096)
    (tmp_path / "meminfo").write_text("MemTotal: 8388608 kB\nMemAvailable: 2097152 kB\n")
    with pytest.raises(ContractError, match=r"memory: 8\.0 GB of 16"):
        machine.has_memory(16, tmp_path / "meminfo")
    with pytest.raises(Doubt, match=r"memory: 2\.0 GB of 4 are free"):
        machine.has_memory(4, tmp_path / "meminfo")
    assert machine.has_memory(2, tmp_path / "meminfo")
    with pytest.raises(ContractError, match="Free some"):
        machine.has_disk(10**9, tmp_path)


def test_what_fails_ends_it_in_one_line(tools: StandIns) -> None:
    tools.put("kind", ("version", "kind v0.32.0", 0), ("create", "", 3))
    with pytest.raises(ContractError, match=r"`kind create cluster .*` ended with exit code 3\. .*docs/cluster\.md"):
        up(None, "lite", None)
    assert changing(tools)[-1].startswith("kind create")


def test_down_ends_what_is_there_and_nothing_else(tools: StandIns) -> None:
    down(None)
    assert changing(tools) == []
    made(tools)
    tools.clear()
    down(None)
    assert changing(tools) == ["kind delete cluster --name churn", "docker rm --force --volumes churn-registry"]


def test_without_a_cluster_deploy_says_which_verb_comes_first(tools: StandIns) -> None:
    with pytest.raises(ContractError, match=r"kind-churn is not up\. Run `ml cluster up` first"):
        running()


def test_deploy_builds_pushes_and_installs_what_is_released_by_digest(tools: StandIns, released: Path) -> None:
    deploy()
    told = changing(tools)
    assert [" ".join(call.split()[:2]) for call in told if "docker" in call] == ["docker build", "docker push"]
    assert "localhost:5001/churn-serving:" in told[1]
    (installed,) = [call for call in told if "upgrade --install churn" in call]
    assert f"--set-string images.serving=localhost:5001/churn-serving@{DIGEST}" in installed
    assert f"--values {released / 'environments/kind/values.yaml'}" in installed
    assert f"--set-file release={released / 'environments/kind/release.yaml'}" in installed
    assert told[-1].endswith("rollout status deployment/churn --timeout 5m")
    assert told.index(installed) == len(told) - 2


def test_the_secret_holds_what_this_machine_knows_and_no_word_of_it_is_shown(
    tools: StandIns, released: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    deploy()
    (created,) = [call for call in tools.calls if "create secret" in str(call)]
    assert created.words[-5:-3] == ["--from-file", str(settings().secrets)]
    assert {"salt", "sender-laptop"} <= {file.name for file in settings().secrets.iterdir()}
    assert json.loads(next(call.read for call in tools.calls if "c2FsdA==" in call.read)) == {"data": "c2FsdA=="}
    assert "c2FsdA==" not in capfd.readouterr().out


def test_where_the_rollout_fails_pods_events_and_logs_are_shown(tools: StandIns, released: Path) -> None:
    none = SPACE.replace("lite", "none")
    rules = [("get namespace", none, 0), ("get configmap", HOSTING, 0), ("create secret", "{}", 0)]
    tools.put("kubectl", ("get-contexts", "kind-churn", 0), *rules, ("rollout status", "", 1), ("get events", "", 1))
    with pytest.raises(ContractError, match=r"`kubectl .* rollout status .*` ended with exit code 1"):
        deploy()
    assert [call.words[4] for call in tools.calls[-3:]] == ["get", "get", "logs"]


def test_nothing_released_deploys_nothing(tools: StandIns, released: Path) -> None:
    (released / "environments" / "kind" / "release.yaml").unlink()
    with pytest.raises(ContractError, match="Run `ml release`"):
        deploy()
    assert tools.calls == []


def test_an_image_without_a_digest_is_not_deployed(tools: StandIns, released: Path) -> None:
    tools.put(
        "docker",
        ("version", "29", 0),
        ("inspect", '[{"Id": "", "Size": 1, "RepoDigests": ["localhost:5001/churn-serving@?"]}]', 0),
    )
    with pytest.raises(ContractError, match="told no digest"):
        deploy()
    assert not [call for call in tools.calls if call.tool == "helm"]


def test_smoke_asks_the_service_through_a_way_that_is_closed_again(
    tools: StandIns, server: Server, tmp_path: Path, client: Client
) -> None:
    client.post("/predict", json=[])
    there(tools, "none", server.url)
    before = processes.children(os.getpid())
    with configured(ML_STORE_URL=server.store, ML_RELEASE_BUNDLE=server.digest, ML_ONLINE_URL=tmp_path / "online"):
        smoke()
    assert str(tools.calls[-1]).endswith("port-forward --address 127.0.0.1 service/churn :80")
    assert processes.children(os.getpid()) == before


def test_a_way_that_does_not_open_is_told(tools: StandIns) -> None:
    tools.put("kubectl", ("port-forward", "error: service not found", 1))
    with pytest.raises(ContractError, match=r"port-forward .* ended with exit code 1"), way(TARGET, "churn", 80):
        pytest.fail("there is no way")


def test_a_way_that_talks_much_is_not_held_up(tmp_path: Path) -> None:
    words = f"echo open at 1; yes | head -c 1000000; touch {tmp_path}/told; sleep 600"
    with beside(Command(("sh", "-c", words)), "open at ") as said:
        deadline = time.monotonic() + 30
        while not (tmp_path / "told").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (said, (tmp_path / "told").exists()) == ("1", True)


def test_an_environment_without_values_is_not_deployed(tools: StandIns, released: Path) -> None:
    (released / "environments" / "kind" / "values.yaml").unlink()
    with pytest.raises(ContractError, match="export ML_RELEASE_ENVIRONMENT=kind"):
        deploy()
    assert tools.calls == []


def test_variables_are_as_they_were_after_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ML_PROJECT_SLUG", "before")
    monkeypatch.delenv("ML_PROJECT_NAME", raising=False)
    with variables(ML_PROJECT_SLUG="meanwhile", ML_PROJECT_NAME="Meanwhile"):
        assert (settings().project.slug, settings().project.name) == ("meanwhile", "Meanwhile")
    assert (settings().project.slug, "ML_PROJECT_NAME" in os.environ) == ("before", False)


def test_a_steady_load_loses_nothing_of_a_service_that_answers(server: Server, client: Client) -> None:
    client.post("/predict", json=[])
    record = json.dumps(bundles.load(str(server.store), server.digest).golden[0]["record"])
    ran = ml("load", server.url, record, "--seconds", 2, "--rate", 20)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "lost none of 40 answers at 20 a second" in ran.stdout


def test_a_load_that_loses_answers_fails_and_says_why(server: Server, client: Client) -> None:
    client.post("/predict", json=[])
    line = one_line(ml("load", server.url, "{}", "--seconds", 1, "--rate", 5))
    assert "5 of 5 answers" in line
    assert line.endswith("were lost: 5 status 400. See the service's log")
    assert "5 ConnectError" in one_line(
        ml("load", f"http://127.0.0.1:{free_port()}", "{}", "--seconds", 1, "--rate", 5)
    )


def test_a_load_sends_the_token_of_a_caller(tmp_path: Path) -> None:
    token = "t" * 32
    (tmp_path / f"{secrets.CALLER}load").write_text(token)

    class Closed(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200 if self.headers["authorization"] == f"Bearer {token}" else 401)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with (
        configured(ML_SERVE_SECRETS=tmp_path),
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), Closed) as service,
    ):
        threading.Thread(target=service.serve_forever, daemon=True).start()
        load(f"http://127.0.0.1:{service.server_port}", "{}", 0.5, 10)
        service.shutdown()


def test_a_roll_is_under_load_from_its_first_to_its_last_pod(tools: StandIns, released: Path) -> None:
    tools.put("kubectl", ("status.active", "1", 0))
    roll(TARGET, f"localhost:5001/churn-serving@{DIGEST}")
    told = [" ".join(call.words[4:6]) for call in tools.calls]
    wanted = ["delete job", "apply --filename", "wait job/load", "rollout restart", "rollout status", "get job"]
    assert told == [*wanted, "logs job/load", "wait job/load", "delete job"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [(("status.active", "", 0), "the load ended before the roll did"), (("condition=complete", "", 1), "exit code 1")],
)
def test_a_roll_that_loses_answers_or_outlives_its_load_fails(
    tools: StandIns, released: Path, answer: tuple[str, str, int], told: str
) -> None:
    tools.put("kubectl", answer, ("status.active", "1", 0))
    with pytest.raises(ContractError, match=told):
        roll(TARGET, f"localhost:5001/churn-serving@{DIGEST}")


@pytest.fixture
def released(tools: StandIns, bundle: tuple[str, str], tmp_path: Path) -> Iterator[Path]:
    """A folder with a store and a release of the environment kind; the cluster is up, with the profile none."""
    copy_of_bundle(bundle, tmp_path / "store")
    shutil.copytree(ROOT / "environments" / "kind", tmp_path / "environments" / "kind")
    there(tools, "none", "")
    image = [{"Id": "sha256:0", "Size": 1, "RepoDigests": [f"localhost:5001/churn-serving@{DIGEST}"]}]
    tools.put("docker", ("version", "29", 0), ("inspect", json.dumps(image), 0))
    with configured(ML_STORE_URL=tmp_path / "store", ML_RELEASE_FOLDER=tmp_path / "environments"):
        release.write(Release(champion=bundle[1]))
        yield tmp_path


def there(tools: StandIns, profile: str, url: str) -> None:
    """Let the cluster be up with a profile, and a way to it lead to `url`."""
    space = json.dumps({"metadata": {"annotations": {PROFILE: profile}}})
    opened = ("port-forward", f"Forwarding from {url.removeprefix('http://')} -> 3000", 0, 600)
    rules = [("get-contexts", "kind-churn", 0), ("get namespace", space, 0), ("get configmap", HOSTING, 0)]
    tools.put("kubectl", *rules, ("create secret", '{"data": "c2FsdA=="}', 0), opened)
