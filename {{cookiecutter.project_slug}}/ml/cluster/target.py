"""What is put into a cluster, and how it is asked: the commands of kubectl and helm, each as data."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ml.cluster.command import Command

ENFORCED = "pod-security.kubernetes.io/enforce"
PROFILE = "ml/profile"  # the annotation of the namespace that says what was put beside the service
KUBEFLOW = "2.17.0"
PIPELINES = "github.com/kubeflow/pipelines/manifests/kustomize"
PATIENCE = "10m"  # for images that come over a slow line


def served(values: Path, release: Path, images: Mapping[Any, str]) -> tuple[str, ...]:
    """Return the options by which helm gives charts/serving an environment's values, its release and its images."""
    named = [word for role, name in images.items() for word in ("--set-string", f"images.{role}={name}")]
    return (*named, "--values", str(values), "--set-file", f"release={release}")


class Target(NamedTuple):
    """A context of kubectl, empty for the current one, a namespace in it, and the name of the release there."""

    context: str
    namespace: str
    name: str

    def kubectl(self, *words: str, reads: str = "") -> Command:
        """Return a command of kubectl in this namespace."""
        context = ("--context", self.context) if self.context else ()
        return Command(("kubectl", *context, "--namespace", self.namespace, *words), reads)

    def elsewhere(self, namespace: str) -> "Target":
        """Return the same, in another namespace."""
        return self._replace(namespace=namespace)

    def helm(self, *words: str) -> Command:
        """Return a command of helm in this namespace."""
        context = ("--kube-context", self.context) if self.context else ()
        return Command(("helm", *context, "--namespace", self.namespace, *words))

    def apply(self, *objects: Mapping[str, Any]) -> Command:
        """Return the command that makes objects what they are to be; done twice, it changes nothing."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        return self.kubectl("apply", "--filename", "-", reads=json.dumps(listed, indent=1))

    def there(self, kind: str, name: str) -> Command:
        """Return the command that fails where an object is not there."""
        return self.kubectl("get", kind, name, "--output", "name")

    def space(self, profile: str) -> dict[str, Any]:
        """Return the namespace, in which pods run restricted or not at all."""
        metadata = {"name": self.namespace, "labels": {ENFORCED: "restricted"}, "annotations": {PROFILE: profile}}
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}

    def install(self, name: str, chart: Path, *values: str) -> Command:
        """Return the command that installs or changes a chart, and waits until it runs."""
        return self.helm("upgrade", "--install", name, str(chart), *values, "--wait", "--timeout", PATIENCE)

    def rollback(self, name: str, revision: int) -> Command:
        """Return the command that brings back the chart and the values of a revision, and waits until they run."""
        return self.helm("rollback", name, str(revision), "--wait", "--timeout", PATIENCE)

    def rollout(self, *words: str) -> Command:
        """Return a command of `kubectl rollout` for the service's pods."""
        return self.kubectl("rollout", words[0], f"deployment/{self.name}", *words[1:])

    def forward(self, service: str, port: int) -> Command:
        """Return the command that opens a way from a free port of 127.0.0.1 to a service."""
        return self.kubectl("port-forward", "--address", "127.0.0.1", f"service/{service}", f":{port}")

    def kubeflow(self) -> list[Command]:
        """Return the commands that install Kubeflow Pipelines standalone, in a namespace of its own.

        https://www.kubeflow.org/docs/components/pipelines/operator-guides/installation/; its `env/dev` carries parts
        of a cloud, `env/platform-agnostic` does not.
        """
        own = self.elsewhere("kubeflow")
        crd = ("crd/applications.app.k8s.io", "--for", "condition=established", "--timeout", "60s")
        return [
            own.kubectl("apply", "--kustomize", f"{PIPELINES}/cluster-scoped-resources?ref={KUBEFLOW}"),
            own.kubectl("wait", *crd),
            own.kubectl("apply", "--kustomize", f"{PIPELINES}/env/platform-agnostic?ref={KUBEFLOW}"),
            own.kubectl("wait", "deployment", "--all", "--for", "condition=available", "--timeout", PATIENCE),
        ]

    def state(self) -> list[Command]:
        """Return the commands that show why something does not run."""
        return [
            self.kubectl("get", "pods,services,jobs", "--output", "wide"),
            self.kubectl("get", "events", "--sort-by", ".lastTimestamp"),
            self.kubectl("logs", f"deployment/{self.name}", "--all-containers", "--tail", "50"),
        ]
