"""A cluster as a target: charts/serving by helm, which waits, and goes back by itself where pods do not come up."""

import json
import tempfile
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

from ml.cluster.command import ask, run
from ml.cluster.deploy import install
from ml.cluster.target import Target as Cluster
from ml.contract import release
from ml.contract.release import Release
from ml.delivery.deployments import Deployment
from ml.errors import ContractError
from ml.settings import settings

PORT = 3000  # of a pod, as the chart has it
ATOMIC = "--atomic"  # Helm 3 knows it by no other name; Helm 4 also as --rollback-on-failure


class Helm:
    """One environment on the cluster of a context, in a namespace of its own."""

    def __init__(self, environment: str) -> None:
        conf = settings()
        self._environment, name = environment, conf.project.slug
        self._cluster = Cluster(conf.deploy.context, conf.deploy.namespace or f"{name}-{environment}", name)

    def alone(self) -> AbstractContextManager[None]:
        """Hold nothing: helm itself refuses a second upgrade of a release that is being upgraded."""
        return nullcontext()

    def put(self, told: Release) -> str | None:
        """Install or upgrade the chart, wait until all pods serve, and see the rollout to its end."""
        values = settings().values_file
        if not values.is_file():
            mend = "Write it, see docs/kubernetes.md, or take [deploy] target = processes"
            raise ContractError("deploy", f"{values} is not there, which says how {self._environment} runs", mend)
        with tempfile.TemporaryDirectory() as home:
            file = Path(home) / "release.yaml"
            file.write_text(release.text(told))
            named = ("--set-string", f"environment={self._environment}")
            install(self._cluster, dict(told.images), ATOMIC, *named, file=file)
        return next(reversed(self._revisions()), None)

    def put_back(self, good: Deployment) -> None:
        """Let helm go back to the revision, with its chart and values; where helm forgot it, install its release."""
        revision = self._revisions().get(good.known_as or "")
        if revision is None:
            self.put(good.release)
        else:
            run([self._cluster.rollback(self._cluster.name, revision), self._cluster.rollout("status")])

    def smoke(self, told: Release) -> None:
        """Let the chart's own test ask through the Service, from within, where the online store can be read as well."""
        try:
            run([self._cluster.helm("test", self._cluster.name)])
        except ContractError:  # a test that succeeds takes its pod with it
            with suppress(ContractError):
                run([self._cluster.kubectl("logs", f"{self._cluster.name}-smoke")])
            raise

    def metrics(self) -> dict[str, str | None]:
        """Ask each pod that runs, by way of the cluster's API."""
        name, space = self._cluster.name, self._cluster.namespace
        selector = f"app.kubernetes.io/name=serving,app.kubernetes.io/instance={name}"
        names = "jsonpath={.items[*].metadata.name}"
        running = ("--selector", selector, "--field-selector", "status.phase=Running", "--output", names)
        pods = (ask(self._cluster.kubectl("get", "pods", *running)) or "").split()
        way = f"/api/v1/namespaces/{space}/pods/{{}}:{PORT}/proxy/metrics"
        return {pod: ask(self._cluster.kubectl("get", "--raw", way.format(pod))) for pod in pods}

    def down(self) -> None:
        """Uninstall the chart."""
        run([self._cluster.helm("uninstall", self._cluster.name, "--wait")])

    def _revisions(self) -> dict[str, int]:
        """Return the revisions that helm remembers, the oldest first; their times tell an uninstalled chart apart."""
        told = json.loads(ask(self._cluster.helm("history", self._cluster.name, "--output", "json")) or "[]")
        return {f"{each['revision']} of {each['updated']}": each["revision"] for each in told}
