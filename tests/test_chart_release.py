"""The serving chart: what runs is what was given, by reference and with its hash, in words that are understood."""

import hashlib
import json
import re
import sys

import pytest
from chart_rendering import (
    NAME,
    SCENARIOS,
    SERVING,
    containers,
    given,
    one,
    pods,
    serving,
    settings,
    with_other,
    workload,
)
from conftest import TEMPLATE

ASK = """
import json, typer.main
from ml.__main__ import app
from ml.settings import Settings
variables = [f"ML_{table}_{key}".upper() for table, field in Settings.model_fields.items() for key in field.annotation.model_fields]
verbs = {name: [option for each in verb.params for option in each.opts] for name, verb in typer.main.get_command(app).commands.items()}
print(json.dumps({"variables": variables, "verbs": verbs}))
"""  # noqa: E501


@pytest.fixture(scope="session")
def project_knows(run):
    """What the project's settings and its command line understand: variables, and each verb's options."""
    return json.loads(run(sys.executable, "-B", "-c", ASK, cwd=TEMPLATE))


def test_the_image_and_the_environment_that_were_given_are_what_runs(rendered, scenario):
    values = given(scenario)
    images = {each["image"] for _, _, pod in pods(rendered[scenario]) for each in containers(pod)}
    assert serving(rendered[scenario])[1]["image"] == values["images"]["serving"]
    assert images <= {image for image in values["images"].values() if image}
    assert settings(rendered[scenario])["data"]["ML_RELEASE_ENVIRONMENT"] == values["environment"]


def test_the_release_arrives_as_it_was_written_with_its_sum(rendered, scenario):
    data, text = one(rendered[scenario], "ConfigMap", f"{NAME}-release")["data"], SCENARIOS[scenario].values["release"]
    assert data["release.yaml"] == text
    assert data["release.yaml.sha256"] == f"{hashlib.sha256(text.encode()).hexdigest()}  release.yaml\n"
    for who, _, pod in pods(rendered[scenario]):
        for each in containers(pod):
            (mount,) = [mount for mount in each["volumeMounts"] if mount["name"] == "release"]
            folder = settings(rendered[scenario])["data"]["ML_RELEASE_FOLDER"]
            assert mount["mountPath"] == f"{folder}/{given(scenario)['environment']}", who
            assert "subPath" not in mount, "the kubelet would never renew it"


def test_a_plan_over_the_same_bundles_restarts_nothing_and_new_bundles_do(charts, rendered):
    told = SCENARIOS["serving/rollout"].values["release"]
    before = workload(rendered["serving/rollout"])
    more = with_other(charts, "serving/rollout", {"release": told.replace("percent: 5", "percent: 20")})
    assert workload(more) == before
    assert one(more, "ConfigMap", f"{NAME}-release") != one(rendered["serving/rollout"], "ConfigMap", f"{NAME}-release")
    champion, challenger = re.findall("[0-9a-f]{64}", told)
    swapped = told.replace(champion, "?").replace(challenger, champion).replace("?", challenger)
    assert workload(with_other(charts, "serving/rollout", {"release": swapped})) == before
    remote = told.replace(challenger, '"https://other.example"')
    for other in (told.replace(champion, "a" * 64), remote, f"champion: {champion}\n"):
        after = workload(with_other(charts, "serving/rollout", {"release": other}))
        annotations = after["spec"]["template"]["metadata"]["annotations"]
        assert annotations["ml/bundles"].split() == sorted(set(re.findall("[0-9a-f]{64}", other)))
        assert after != before


def test_images_in_the_release_are_understood_and_restart_nothing_by_themselves(charts, rendered):
    """Pods run the images that were given to the chart, as `ml deploy` reads them out of the same file."""
    told = SCENARIOS["serving/rollout"].values["release"] + f"images: {{serving: project@sha256:{'1' * 64}}}\n"
    manifests = with_other(charts, "serving/rollout", {"release": told})
    assert workload(manifests) == workload(rendered["serving/rollout"])
    assert one(manifests, "ConfigMap", f"{NAME}-release")["data"]["release.yaml"] == told


def test_another_setting_is_another_config_map_that_nobody_can_change(charts, rendered):
    before = settings(rendered["serving/jobs"])
    other = with_other(charts, "serving/jobs", {"settings": {"ML_MONITOR_WINDOW_DAYS": "14"}})
    assert before["immutable"] is settings(other)["immutable"] is True
    assert settings(other)["metadata"]["name"] != before["metadata"]["name"]
    assert settings(other)["data"] == before["data"] | {"ML_MONITOR_WINDOW_DAYS": "14"}
    for manifests in (rendered["serving/jobs"], other):
        for _, _, pod in pods(manifests):
            for each in containers(pod):
                assert each["envFrom"][0]["configMapRef"]["name"] == settings(manifests)["metadata"]["name"]


def test_every_setting_is_one_of_the_project(rendered, project_knows):
    for name in SERVING:
        named = set(settings(rendered[name])["data"])
        named |= {var["name"] for _, _, pod in pods(rendered[name]) for each in containers(pod) for var in each["env"]}
        assert {each for each in named if each.startswith("ML_")} <= set(project_knows["variables"])


def test_every_pod_is_told_what_the_command_line_understands(rendered, project_knows):
    told = {tuple(each["args"]) for name in SERVING for _, _, pod in pods(rendered[name]) for each in containers(pod)}
    verbs = {"serve", "fetch", "smoke", "stream", "compact", "profile", "monitor", "score", "experiment"}
    assert {args[0] for args in told} == verbs
    for verb, *words in told:
        assert {word for word in words if word.startswith("--")} <= set(project_knows["verbs"][verb])


def test_bundles_are_fetched_and_proved_before_the_service_starts_unless_they_are_in_the_image(rendered, scenario):
    pod, container = serving(rendered[scenario])
    store = next(each["value"] for each in container["env"] if each["name"] == "ML_STORE_URL")
    if given(scenario)["bundlesFrom"] == "image":
        assert ("initContainers" in pod, store) == (False, "/app/bundles-store")
        return
    (fetch,) = pod["initContainers"]
    assert fetch["args"] == ["fetch", "--to", store]
    assert {each["name"]: each.get("value") for each in fetch["env"]}["ML_STORE_URL"] == given(scenario)["store"]["url"]


def test_secrets_come_by_reference_and_to_who_needs_them_alone(rendered, scenario):
    values = given(scenario)
    needing = {"serving", "smoke", "monitor"} if values["secrets"] else set()
    for who, labels, pod in pods(rendered[scenario]):
        part = labels["app.kubernetes.io/name"]
        mounted = [volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume]
        assert mounted == ([values["secrets"]] if part in needing else []), who
        reading = {each["name"] for each in containers(pod) if "secrets" in str(each["volumeMounts"])}
        assert reading == ({part} if part in needing else set()), who
        for each in containers(pod):
            references = [source["secretRef"]["name"] for source in each["envFrom"] if "secretRef" in source]
            assert references == ([values["store"]["secret"]] if part != "stream" and values["store"]["secret"] else [])
            online = [var["valueFrom"]["secretKeyRef"] for var in each["env"] if "valueFrom" in var]
            assert online == (
                [{"name": values["online"]["secret"], "key": "url"}] if values["online"]["secret"] else []
            )
    where = settings(rendered[scenario])["data"]["ML_SERVE_SECRETS"]
    assert where == ("/var/ml/secrets" if values["secrets"] else "/var/ml/own-secrets")
    assert not [each for each in rendered[scenario] if each["kind"] == "Secret"]


def test_events_go_to_the_object_store_where_there_is_one(rendered, scenario):
    url, events = given(scenario)["store"]["url"], settings(rendered[scenario])["data"]["ML_EVENTS_URL"]
    assert events == (f"{url}/events" if url else "/var/ml/events")


def test_nothing_phones_home_and_a_dead_worker_ends_the_pod(rendered, scenario):
    quiet = {"BENTOML_DO_NOT_TRACK": "True", "ORT_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "true"}
    assert settings(rendered[scenario])["data"].items() >= (quiet | {"BENTOML_CONTAINERIZED": "1"}).items()


def test_helm_test_asks_the_service_a_golden_record(rendered, scenario):
    pod = one(rendered[scenario], "Pod", f"{NAME}-smoke")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    (smoke,) = pod["spec"]["containers"]
    at = given(scenario)["testAt"]
    assert smoke["args"] == ["smoke", f"http://{NAME}", *(["--at", at] if at else [])]
    assert smoke["env"] == serving(rendered[scenario])[1]["env"], "it scores by the same bundles and the same store"
