"""This machine as a target: real services behind a balancer, replaced without a request being lost.

The balancer goes by a file that names the services at work; only a generation whose services are all ready gets there.
"""

import json
import time
from contextlib import AbstractContextManager

from ml.cluster.ways import variables
from ml.contract import release
from ml.contract.release import Release
from ml.delivery.deployments import Deployment
from ml.delivery.smoke import smoke
from ml.delivery.targets.generation import FILE, PATIENCE, Generation, begin, release_file, state_of
from ml.delivery.targets.started import Started, start
from ml.errors import ContractError
from ml.progress import say
from ml.settings import settings
from ml.store import files

READY = 120.0  # seconds for services to load their bundles
TAKEN = (
    10.0  # seconds in which a service goes by another plan of bundles that it has, and the balancer by other services
)


class Processes:
    """One environment on this machine, below the store."""

    def __init__(self, environment: str) -> None:
        self._environment = environment
        self._folder = files.local(f"{settings().store_url}/processes/{environment}", "services on this machine")
        self._named, self._balancer = self._folder / "replicas.json", self._folder / "balancer.json"
        serve = settings().serve
        self._listening = (serve.host, serve.port, serve.outcomes_port)
        self._url = f"http://{serve.host}:{serve.port}"

    def alone(self) -> AbstractContextManager[None]:
        """Hold the environment's folder."""
        return files.alone(self._folder, "deployment")

    def put(self, told: Release) -> None:
        """Change the release of the services at work, where they have its bundles; else replace them by new ones."""
        now = self._at_work()
        if now and now.takes(told):
            self._change(now, told)
        else:
            now = self._replace(now, told)
        self._end_all_but(now)  # those that a crash has left as well

    def put_back(self, good: Deployment) -> None:
        """Put its release: by the code that is here, which does not go back."""
        self.put(good.release)

    def smoke(self, told: Release) -> None:
        """Ask a golden record through the balancer; what is expected is what was deployed."""
        now = self._at_work()
        with variables(ML_RELEASE_FOLDER=str(now.folder / "environments") if now else settings().release.folder):
            smoke(self._url)

    def metrics(self) -> dict[str, str | None]:
        """Ask each service at work itself."""
        now = self._at_work()
        return {each.url: each.page for each in (now.replicas if now else ())}

    def down(self) -> None:
        """End the balancer, then all services."""
        if balancer := self._running():
            balancer.tell_to_end()
            balancer.end(PATIENCE)
        self._balancer.unlink(missing_ok=True)
        self._named.unlink(missing_ok=True)
        self._end_all_but(None)
        say("deploy", f"nothing of {self._environment} runs on this machine any more")

    def _change(self, now: Generation, told: Release) -> None:
        file = release_file(now.folder)
        before = file.read_bytes()
        try:
            files.write(str(file), release.text(told).encode())
            now.until_ready(told.plan, TAKEN)
            self._hand_over(now)
        except BaseException:
            files.write(str(file), before)
            raise
        say("deploy", f"plan {told.plan} is at work in {len(now.replicas)} services; none was started anew")

    def _replace(self, now: Generation | None, told: Release) -> Generation:
        number = max((int(each.folder.name) for each in self._generations()), default=0) + 1
        new = begin(self._folder / str(number), told)
        try:
            new.until_ready(told.plan, READY)
            self._hand_over(new)
        except BaseException:
            if now:
                self._name(now)
            new.end()
            raise
        say("deploy", f"plan {told.plan} is at work in {len(new.replicas)} new services behind {self._url}")
        return new

    def _hand_over(self, new: Generation) -> None:
        """Let the balancer lead to new services alone, and return once it does; start it where it does not run."""
        named = self._name(new)
        if not self._running():
            words = ("ml.delivery.balancer", str(self._named), *map(str, self._listening))
            started = start(words, self._folder / "balancer.log", {})
            files.write(str(self._balancer), started.model_dump_json().encode())
        deadline = time.monotonic() + TAKEN
        while state_of(self._url).get("replicas") != named:
            if time.monotonic() > deadline:
                mend = f"See {self._folder}/balancer.log: is the port taken?"
                raise ContractError("deploy", f"the balancer at {self._url} does not lead to the new services", mend)
            time.sleep(0.05)

    def _name(self, generation: Generation) -> list[list[str]]:
        """Write whom the balancer is to lead to, and return it."""
        named = [[each.url, each.outcomes] for each in generation.replicas]
        files.write(str(self._named), json.dumps(named).encode())
        return named

    def _running(self) -> Started | None:
        """Return the balancer, where it runs."""
        found = Started.model_validate_json(self._balancer.read_bytes()) if self._balancer.exists() else None
        return found if found and found.runs else None

    def _generations(self) -> list[Generation]:
        return [Generation.model_validate_json(file.read_bytes()) for file in self._folder.glob(f"*/{FILE}")]

    def _at_work(self) -> Generation | None:
        """Return the generation that the balancer leads to."""
        named = {url for url, _ in json.loads(self._named.read_bytes())} if self._named.exists() else set()
        return next((each for each in self._generations() if {one.url for one in each.replicas} == named), None)

    def _end_all_but(self, keep: Generation | None) -> None:
        for each in self._generations():
            if keep is None or each.folder != keep.folder:
                each.end()
