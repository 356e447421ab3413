"""Rehearses on the project's cluster what must not be tried first where it counts: a roll, a drift, a way back."""

import json
from typing import Any

from ml.cluster.cluster import running
from ml.cluster.command import ask, run
from ml.cluster.deploy import SECRETS, STORE, asked, copy, install, stored
from ml.cluster.profile import PROFILES
from ml.cluster.target import Target
from ml.cluster.ways import variables, way
from ml.contract import bundle, release
from ml.contract.release import Release
from ml.delivery.smoke import smoke
from ml.errors import ContractError
from ml.labelling.label import label
from ml.monitoring.monitor import monitor
from ml.progress import say
from ml.replay import replay
from ml.settings import settings
from ml.store import files

SECONDS, RATE = 240, 20  # of the load: longer than any roll, and requests a second
LOAD = "load"
OUTCOMES = 3001  # the Service's port


def rehearse() -> None:
    """Roll under load, drift and roll back, on a cluster that serves and has not been rehearsed on yet.

    Raises ContractError where an answer is lost, the monitor stays quiet, or the wrong bundle answers.
    """
    _, target, profile = running()
    if not PROFILES[profile].platform:
        raise ContractError("cluster", f"the profile {profile} has no store of its own", "Take lite or full")
    containers = "jsonpath={.spec.template.spec.containers[0].image}"
    image = ask(target.kubectl("get", "deployment", target.name, "--output", containers))
    if not image:
        raise ContractError("cluster", f"nothing serves on {target.context}", "Run `ml cluster deploy` first")
    roll(target, image)
    drift(target, image, profile)
    roll_back(target, image, profile)
    say("cluster", "rolled without loss, saw the drift, and went back")


def roll(target: Target, image: str) -> None:
    """Replace every pod while a Job asks the Service; no answer may be lost."""
    champion = bundle.load(settings().store_url, release.read().champion)
    gone = target.kubectl("delete", "job", LOAD, "--ignore-not-found")
    begun = target.kubectl("wait", f"job/{LOAD}", "--for", "jsonpath={.status.ready}=1", "--timeout", "5m")
    run([gone, target.apply(job(target, image, champion.golden[0]["record"])), begun])
    run([target.rollout("restart"), target.rollout("status", "--timeout", "10m")])
    spanned = ask(target.kubectl("get", "job", LOAD, "--output", "jsonpath={.status.active}")) == "1"
    over = target.kubectl("wait", f"job/{LOAD}", "--for", "condition=complete", "--timeout", "1m")
    run([target.kubectl("logs", f"job/{LOAD}", "--follow"), over, gone])
    if not spanned:
        raise ContractError("cluster", "the load ended before the roll did", "Give the pods more processor, or fewer")


def job(target: Target, image: str, record: Any) -> dict[str, Any]:
    """Return the Job that asks the Service from within: a way from outside would lead to one pod alone.

    It has the Secret of the environment, for the token of a caller where not everybody may ask.
    """
    arguments = [LOAD, f"http://{target.name}", json.dumps(record), "--seconds", str(SECONDS), "--rate", str(RATE)]
    container = {
        "name": LOAD,
        "image": image,
        "args": arguments,
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": SECRETS, "mountPath": "/var/ml/secrets", "readOnly": True}],
    }
    nobody = {"runAsNonRoot": True, "runAsUser": 10001, "fsGroup": 10001}
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {**nobody, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [{"name": SECRETS, "secret": {"secretName": SECRETS, "defaultMode": 0o440}}],
        "containers": [container],
    }
    template = {"metadata": {"labels": {"app.kubernetes.io/name": LOAD}}, "spec": pod}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": LOAD},
        "spec": {"backoffLimit": 0, "template": template},
    }


def drift(target: Target, image: str, profile: str) -> None:
    """Send the last stretch of [demo] replays, in which the world is another one; the monitor has to alarm."""
    conf = settings()
    since, until = conf.demo.replays[-1]
    install(target, {"serving": image}, "--set-string", f"settings.ML_SERVE_CLOCK=simulated,testAt={since}T00:00:00Z")
    with asked(target, profile) as service, way(target, target.name, OUTCOMES) as outcomes:
        replay(conf.lake_url, since, until, service, f"http://{outcomes}")
    install(target, {"serving": image})  # the pods that end send the events that they still hold
    with stored(target), variables(ML_EVENTS_URL=f"{STORE}/events"):
        label()
        found = monitor(until)
    if found["status"] != "alarm":
        broken = f"the monitor is {found['status']} about {since} to {until}, which [demo] replays calls much worse"
        raise ContractError("cluster", broken, f"See {found['report']}")


def roll_back(target: Target, image: str, profile: str) -> None:
    """Release another rung, as nobody should, and revert the release file; each time its own champion has to answer."""
    store, file = settings().store_url, settings().release_file
    before, champion = file.read_bytes(), release.read().champion
    others = [digest for digest in bundle.ladder(store, champion).values() if digest != champion]
    try:
        release.write(Release(champion=others[0]))
        copy(target, others[:1])
        _answers(target, image, profile)
    finally:
        files.write(str(file), before)
    _answers(target, image, profile)


def _answers(target: Target, image: str, profile: str) -> None:
    install(target, {"serving": image})
    with asked(target, profile) as service:
        smoke(service)
