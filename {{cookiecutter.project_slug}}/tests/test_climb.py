"""One bundle from nothing to champion of two stages, by real verdicts, and stopped at each step by what will not do."""

import shutil
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from conftest import configured, copy_of_bundle, ml
from experiment_frames import Model, labelled, mirrored
from promotion_evidence import IMAGE

from ml.contract import bundle as bundles
from ml.contract import release as contract
from ml.contract.clock import Clock
from ml.contract.events import SHADOWS
from ml.contract.release import CHAMPION, Release
from ml.delivery import deployments
from ml.delivery.deployments import Deployment
from ml.delivery.release import CHALLENGER
from ml.eventlog.log import EventLog
from ml.experiment.experiment import experiment
from ml.promotion.promote import promote
from ml.promotion.revert import revert
from ml.settings import settings
from ml.store import partitions

pytestmark = pytest.mark.slow

BETTER, WORSE = Model(skill=2.5), Model(skill=0.3)
MANY, FEW = 3000, 80  # entities


class Place:
    """A repository with two environments, a store, and the environment that is at work in it."""

    def __init__(self, repository: Path, simplest: str, **variables: object) -> None:
        self.repository, self.variables = repository, variables
        repository.mkdir()
        self.git("init", "--quiet")
        for stage in settings().promotion.stages:
            contract.write(Release(champion=simplest), stage)
        self.merge("the simplest rung everywhere")

    @property
    def told(self) -> Release:
        """What the release file says."""
        found = contract.of(settings().release.environment)
        assert found
        return found

    @property
    def trial(self) -> tuple[str, str, str, float]:
        """Champion, mode, challenger and its percent."""
        assert self.told.experiment
        arm = self.told.experiment.arms[CHALLENGER]
        return self.told.champion, self.told.experiment.mode, arm.bundle, arm.percent

    @property
    def file(self) -> Path:
        return contract.file(settings().release.environment)

    @property
    def bytes(self) -> bytes:
        return self.file.read_bytes()

    def with_percent(self, percent: float) -> Release:
        """Return the same release, but for the challenger's share."""
        told = self.told.model_dump()
        told["experiment"]["arms"][CHALLENGER]["percent"] = percent
        return Release.model_validate(told)

    def git(self, *words: str) -> None:
        """Run git in the repository, as somebody."""
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
        subprocess.run(["git", *who, *words], cwd=self.repository, check=True, capture_output=True)

    def merge(self, said: str) -> None:
        """Commit what is there, and write down that it was deployed."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", said)
        for stage in settings().promotion.stages:
            told = contract.of(stage)
            assert told
            if not (last := deployments.last(stage)) or last.release != told:
                now = Clock("wall").now()
                deployments.add(
                    Deployment(environment=stage, release=told, at=now, outcome="good", revision=None, said="")
                )

    def show(self, model: Model, entities: int = MANY) -> str:
        """Let the experiment of the release go on with a challenger of this quality, and return the verdict on it."""
        told = self.told
        assert told.experiment
        arm, digests = told.experiment.arms[CHALLENGER], {CHAMPION: told.champion}
        digests[CHALLENGER] = arm.bundle
        if told.experiment.mode == "shadow":
            shadows, rows = mirrored(model, told.experiment.name, entities=entities)
            rows = rows.assign(stored=False)
            self._log(shadows.assign(arm=CHALLENGER, bundle=arm.bundle, champion=told.champion, plan=told.plan))
        else:
            shares = {"new": (arm.percent, model), CHAMPION: (100 - arm.percent, Model())}
            rows = labelled(shares, told.experiment.name, entities=entities, days=8, before=3)
        arms = rows.arm.replace("new", CHALLENGER)
        for day, part in rows.assign(arm=arms, bundle=arms.fillna(CHAMPION).map(digests)).groupby("day"):
            partitions.write(settings().labels_url, date.fromisoformat(str(day)), part)
        return experiment().verdict

    def _log(self, shadows: pd.DataFrame) -> None:
        shutil.rmtree(settings().events_url, ignore_errors=True)
        log = EventLog(settings().spool, settings().events_url, 3600)
        log.append(SHADOWS, {name: shadows[name].tolist() for name in shadows}, len(shadows))
        log.close()


@pytest.fixture
def place(bundle: tuple[str, str], lake: str, tmp_path: Path) -> Iterator[Place]:
    copy_of_bundle(bundle, tmp_path / "store")
    (judged,) = (tmp_path / "store" / "verdicts").iterdir()  # when it was trained
    judged.rename(judged.with_name("staging"))
    repository = tmp_path / "repository"
    variables = {"ML_STORE_URL": tmp_path / "store", "ML_RELEASE_FOLDER": repository / "environments"}
    with configured(**variables, ML_RELEASE_ENVIRONMENT="staging"):
        bundles.name_newest(settings().store_url, bundle[1])
        yield Place(repository, bundles.load(*bundle).baseline, **variables, ML_RELEASE_ENVIRONMENT="staging")


def test_a_bundle_climbs_by_good_evidence_and_by_no_other(
    place: Place, bundle: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    def moves(said: str, **images: str) -> None:
        assert promote(None, images, False) == 0
        assert f"{said}; plan {place.told.plan}" in capsys.readouterr().out.splitlines()[-1]
        place.merge(said)

    def stays(code: int, said: str, bundle: str | None = None) -> None:
        before = place.bytes
        assert promote(bundle, {}, False) == code
        assert said in capsys.readouterr().out.splitlines()[-1]
        assert place.bytes == before

    simplest, digest = place.told.champion, bundle[1]
    moves("as shadow")
    assert place.trial == (simplest, "shadow", digest, 100)
    stays(11, "has not been judged yet")
    assert place.show(Model(), FEW) == "inconclusive"
    stays(11, "is inconclusive: ")
    assert place.show(Model()) == "pass"
    with configured(**place.variables, ML_PROMOTION_EVIDENCE_DAYS=1e-9):
        stays(10, "promotion.evidence_days are 1e-09")
    moves("as canary 5 %")
    assert place.trial == (simplest, "canary", digest, 5)

    before = place.bytes
    contract.write(place.with_percent(10))
    assert place.show(BETTER) == "pass"
    place.file.write_bytes(before)
    stays(10, "was judged under the plan ")
    assert place.show(BETTER) == "pass"
    moves("as canary 25 %")

    assert place.show(BETTER) == "pass"
    moves("another image of serving", serving=IMAGE)
    stays(11, "before this was deployed")
    assert place.show(BETTER) == "pass"
    moves("as canary 50 %")
    assert place.trial == (simplest, "canary", digest, 50)

    before = place.bytes
    assert place.show(WORSE) == "fail"
    assert promote(None, {}, False) == 0
    assert place.told == Release(champion=simplest, images={"serving": IMAGE})
    revert(False)
    assert place.bytes == before
    assert place.show(BETTER) == "pass"
    moves("as champion")
    assert place.told == Release(champion=digest, images={"serving": IMAGE})
    stays(11, "is the champion of staging already")
    stays(10, f"against {digest[:12]} is fail: ", simplest)  # a worse one, judged on the spot

    fewer = {"ML_RELEASE_ENVIRONMENT": "production", "ML_PROMOTION_CANARY": [50]}
    with configured(**place.variables | fewer):
        stays(10, "is not the champion of staging", simplest)
        moves("another image of serving")
        moves("as shadow")  # the gate has judged it on the spot
        for model, step in ((Model(), "as canary 50 %"), (BETTER, "as champion")):
            stays(11, "has not been judged yet")
            assert place.show(model) == "pass"
            moves(step)
        assert place.told == Release(champion=digest, images={"serving": IMAGE})
        stays(11, "is the champion of production already, which is that of staging")
        revert(False)
        assert place.trial == (simplest, "canary", digest, 50)


def test_what_failed_is_not_tried_again_and_what_did_harm_is_not_released_again(
    place: Place, bundle: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert promote(None, {}, False) == 0
    shadow = place.told
    place.merge("shadow")
    assert place.show(WORSE) == "fail"
    assert promote(None, {}, False) == 0
    place.merge("withdrawn")
    assert promote(None, {}, False) == 10
    assert f"{bundle[1][:12]} failed shadow-{bundle[1][:8]}-" in capsys.readouterr().out.splitlines()[-1]
    shutil.rmtree(settings().reports_url)
    now = Clock("wall").now()
    deployments.add(
        Deployment(environment="staging", release=shadow, at=now, outcome="breach", revision=None, said="p99 900 ms")
    )
    assert promote(None, {}, False) == 10
    assert "this very release did harm in staging on" in capsys.readouterr().out.splitlines()[-1]


def test_the_verb_ends_with_the_exit_code_and_says_why_in_a_line(place: Place) -> None:
    asked = ("promote", "production", "--image", f"serving={IMAGE}")
    ran = ml(*asked, **place.variables | {"ML_RELEASE_ENVIRONMENT": "laptop"})
    assert (ran.returncode, ran.stderr) == (10, "")
    assert ran.stdout.splitlines() == [
        f"promote   production stays as it is: staging does not run {IMAGE}. "
        "Run `ml promote staging` with that image first"
    ]
