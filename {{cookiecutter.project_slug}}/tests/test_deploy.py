"""What a pod does before and while it serves: bundles fetched, a mounted release that changes, a smoke test."""

import asyncio
import hashlib
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from conftest import NOON, Server, configured, copy_of_bundle, ml, one_line

from ml.contract import bundle as bundles
from ml.contract import framing, release
from ml.contract.release import Arm, Experiment, Release
from ml.delivery.fetch import fetch
from ml.delivery.smoke import smoke
from ml.errors import ContractError
from ml.serving import switch
from ml.serving.server import free_port
from ml.settings import settings

AT = NOON["X-Simulated-Time"]


def told(champion: str, challenger: str | None = None, percent: float = 5) -> Release:
    if challenger is None:
        return Release(champion=champion)
    arms = {"challenger": Arm(bundle=challenger, percent=percent)}
    return Release(champion=champion, experiment=Experiment(name="a-shadow", mode="shadow", arms=arms))


class Mount:
    """A folder as the kubelet mounts a ConfigMap: files are links into `..data`, a link that is replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._times = folder, 0
        folder.mkdir(parents=True)

    def put(self, content: bytes, sum_: str | None = None) -> None:
        """Let the folder hold a release and its sum, the right one unless another is given."""
        self._times += 1
        real = self._folder / f"..2026_11_21_{self._times}"
        real.mkdir()
        (real / "release.yaml").write_bytes(content)
        line = f"{sum_ or hashlib.sha256(content).hexdigest()}  release.yaml\n"
        (real / "release.yaml.sha256").write_text(line)
        beside = self._folder / "..data_tmp"
        beside.symlink_to(real.name)
        beside.replace(self._folder / "..data")
        for name in ("release.yaml", "release.yaml.sha256"):
            if not (self._folder / name).is_symlink():
                (self._folder / name).symlink_to(f"..data/{name}")

    def release(self, what: Release) -> None:
        with configured(ML_RELEASE_FOLDER=self._folder.parent / "written"):
            release.write(what)
            self.put(settings().release_file.read_bytes())


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    return Mount(tmp_path / "releases" / "laptop")


@pytest.fixture
def pod(bundle: tuple[str, str], mount: Mount, tmp_path: Path) -> Iterator[Path]:
    """The folder in which a pod keeps its bundles, with a release of two mounted."""
    mount.release(told(bundle[1], bundles.load(*bundle).baseline))
    with configured(ML_STORE_URL=tmp_path / "pod", ML_RELEASE_FOLDER=tmp_path / "releases"):
        yield tmp_path / "pod"


def files_of(folder: Path) -> dict[str, int]:
    """Return what lies there, but for the newest's name, and when it was written."""
    there = (folder / "bundles").rglob("*")
    return {str(each.relative_to(folder)): each.stat().st_mtime_ns for each in there if each.parent.name != "bundles"}


def test_fetch_brings_the_bundles_of_the_release_and_no_other(pod: Path, bundle: tuple[str, str]) -> None:
    assert fetch(bundle[0], pod) == 2
    named = set(release.read().digests)
    assert {each.name for each in (pod / "bundles").iterdir()} - {bundles.NEWEST} == named
    for digest in named:
        assert {each.name for each in (pod / "bundles" / digest).iterdir()} == set(bundles.CORE)
        assert bundles.load(str(pod), digest).replay_golden() > 0


def test_what_is_there_is_not_fetched_again_and_what_is_torn_is_mended(pod: Path, bundle: tuple[str, str]) -> None:
    fetch(bundle[0], pod)
    before = files_of(pod)
    assert fetch(bundle[0], pod) == 0
    assert files_of(pod) == before
    torn = pod / "bundles" / bundle[1] / "model.onnx"
    torn.write_bytes(torn.read_bytes()[:100])
    (pod / "bundles" / bundle[1] / bundles.MANIFEST).unlink()  # it is written last: an interrupted fetch has none
    assert fetch(bundle[0], pod) == 1
    assert bundles.load(str(pod), bundle[1]).digest == bundle[1]
    others = {name for name in before if bundle[1] not in name}
    assert {name for name in others if files_of(pod)[name] == before[name]} == others


def test_a_bundle_that_was_altered_or_is_absent_never_arrives(
    pod: Path, bundle: tuple[str, str], tmp_path: Path
) -> None:
    model = copy_of_bundle(bundle, tmp_path / "store") / "model.onnx"
    model.write_bytes(model.read_bytes() + b" ")
    with pytest.raises(ContractError, match="was altered"):
        fetch(str(tmp_path / "store"), pod)
    model.unlink()
    with pytest.raises(ContractError, match="there is no bundle"):
        fetch(str(tmp_path / "store"), pod)
    assert not (pod / "bundles" / bundle[1]).exists()


def test_the_verb_says_in_one_line_what_was_proved(bundle: tuple[str, str], pod: Path) -> None:
    environment = {"ML_STORE_URL": bundle[0], "ML_RELEASE_FOLDER": settings().release.folder}
    ran = ml("fetch", "--to", pod, **environment)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith(f"fetch     plan {release.read().plan}: 2 of 2 bundles from ")
    assert "2 of 2" not in ml("fetch", "--to", pod, **environment).stdout


@pytest.mark.parametrize("wrong", ["f" * 64, "torn"])
def test_a_release_that_is_not_what_its_sum_names_is_refused(mount: Mount, wrong: str, tmp_path: Path) -> None:
    with configured(ML_RELEASE_FOLDER=tmp_path / "releases"):
        mount.put(f"champion: {'a' * 64}\n".encode(), sum_=wrong)
        with pytest.raises(ContractError, match=r"is not what release\.yaml\.sha256 names.*docs/kubernetes\.md"):
            release.read()
        mount.put(f"champion: {'a' * 64}\n".encode())
        assert release.read().champion == "a" * 64


def test_a_release_without_a_sum_is_read_as_on_a_laptop(tmp_path: Path) -> None:
    with configured(ML_RELEASE_FOLDER=tmp_path):
        release.write(told("a" * 64))
        assert not settings().release_file.with_name("release.yaml.sha256").exists()
        assert release.read().champion == "a" * 64


def test_a_service_takes_the_release_that_the_kubelet_swapped_in_and_none_that_was_tampered_with(
    pod: Path, bundle: tuple[str, str], mount: Mount, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(switch, "LOOK", 0.02)
    fetch(bundle[0], pod)
    found, baseline = switch.Switch(), bundles.load(*bundle).baseline
    taken: list[str] = []

    async def until(holds) -> None:
        async with asyncio.timeout(30):
            while not holds():
                await asyncio.sleep(0.02)

    async def watched() -> None:
        watching = asyncio.create_task(found.watch(lambda plan: taken.append(plan.name)))
        more = told(bundle[1], baseline, percent=20)
        mount.release(more)
        await until(lambda: taken == [more.plan])
        mount.put(f"champion: {baseline}\n".encode(), sum_="0" * 64)
        await until(lambda: "is not what" in caplog.text)
        assert taken == [more.plan]
        mount.release(told(bundle[1]))
        await until(lambda: taken == [more.plan, told(bundle[1]).plan])
        watching.cancel()

    asyncio.run(watched())


def test_smoke_finds_that_the_service_scores_as_the_bundle_does(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    with configured(ML_STORE_URL=server.store, ML_RELEASE_BUNDLE=server.digest):
        smoke(server.url, AT)
    assert re.search(rf"^smoke .* scores as bundle {server.digest[:12]} does: 0\.\d+, ", capsys.readouterr().out)


def test_smoke_tells_another_bundle_other_scores_and_no_service_apart(
    server: Server, bundle: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {"ML_STORE_URL": server.store, "ML_RELEASE_BUNDLE": server.digest}
    other = {**there, "ML_RELEASE_BUNDLE": bundles.load(*bundle).baseline}
    assert "which plan" in one_line(ml("smoke", server.url, "--at", AT, **other))
    assert "answers 400: " in one_line(ml("smoke", server.url, "--at", "yesterday", **there))
    assert "no service answers" in one_line(ml("smoke", f"http://127.0.0.1:{free_port()}", **there))
    from ml.contract.scorer import Scorer

    score = Scorer.score
    monkeypatch.setattr(Scorer, "score", lambda self, given: score(self, given) + 1e-5)
    with configured(**there), pytest.raises(ContractError, match=r"answers 0\.\d+ where bundle \w{12} scores 0\.\d+"):
        smoke(server.url, AT)


def test_days_ahead_begin_today_and_are_not_named_twice(tmp_path: Path) -> None:
    first, last = framing.ahead(3)
    assert last - first == timedelta(days=2)
    assert framing.ahead(1) in {(day, day) for day in (first, first + timedelta(days=1))}  # midnight may have passed
    for words in ((), ("--days", "2", "--since", "2013-04-01"), ("--since", "2013-04-01")):
        assert "Give --since and --until, or --days alone" in one_line(ml("score", *words, ML_STORE_URL=tmp_path))
