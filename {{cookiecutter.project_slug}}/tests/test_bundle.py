"""The bundle: named by what it holds, refused when that changed, and equal to the model that was trained."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import copy_of_bundle
from hypothesis import given
from hypothesis import strategies as st

from ml import revision
from ml.contract import bundle as bundles
from ml.contract.bundle import CORE, MANIFEST, TOLERANCE, digest_of, dump, load, save
from ml.contract.reference import Reference
from ml.contract.scorer import Scorer
from ml.errors import ContractError
from ml.features.rows import Rows, records_of, rows_of
from ml.features.table import NAMES, Inputs, columns_of_frame, inputs
from ml.models.skew import Skewed
from ml.problem.models import ladder
from ml.store import files
from ml.training import provenance as origin
from ml.training.calibrate import Calibration
from ml.training.export import export

cores = st.fixed_dictionaries({name: st.binary(max_size=40) for name in CORE})


@pytest.fixture
def home(bundle: tuple[str, str], tmp_path: Path) -> Path:
    """A copy of the bundle, in a store of its own that is `tmp_path / "store"`."""
    return copy_of_bundle(bundle, tmp_path / "store")


def store_of(home: Path) -> str:
    return str(home.parents[1])


def changed(home: Path, **manifest: object) -> str:
    """Change the manifest, give the bundle the name that it must have then, and return that digest."""
    found = json.loads((home / MANIFEST).read_bytes())
    (home / MANIFEST).write_bytes(dump({**found, **manifest}))
    digest = digest_of({name: (home / name).read_bytes() for name in CORE})
    home.rename(home.with_name(digest))
    return digest


@given(cores, st.permutations(CORE))
def test_the_digest_says_the_same_of_the_same_core_in_any_order(core: dict[str, bytes], order: list[str]) -> None:
    assert digest_of(core) == digest_of({name: core[name] for name in order})


@given(cores, st.sampled_from(CORE), st.binary(max_size=40))
def test_the_digest_changes_with_any_file_of_the_core(core: dict[str, bytes], name: str, content: bytes) -> None:
    assert (digest_of({**core, name: content}) == digest_of(core)) is (content == core[name])


def test_files_of_the_core_cannot_be_swapped() -> None:
    one, other = CORE[:2]
    core = {name: name.encode() for name in CORE}
    assert digest_of(core) != digest_of({**core, one: core[other], other: core[one]})


@pytest.mark.parametrize("place", [0, 0.5, 1])
@pytest.mark.parametrize("name", CORE)
def test_a_flipped_byte_anywhere_in_the_core_is_refused(home: Path, name: str, place: float) -> None:
    content = bytearray((home / name).read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    (home / name).write_bytes(content)
    with pytest.raises(ContractError, match=r"^bundle: .* was altered: its core hashes to "):
        load(store_of(home), home.name)


@pytest.mark.parametrize("name", CORE)
def test_a_bundle_without_one_of_its_files_is_none(home: Path, name: str) -> None:
    (home / name).unlink()
    with pytest.raises(ContractError, match=r"^bundle: there is no bundle "):
        load(store_of(home), home.name)


def test_a_newer_contract_is_refused_although_the_hash_is_right(home: Path) -> None:
    digest = changed(home, contract=bundles.CONTRACT + 1)
    with pytest.raises(
        ContractError, match=rf"is of contract {bundles.CONTRACT + 1}, this code reads {bundles.CONTRACT}. Upgrade"
    ):
        load(store_of(home), digest)


def test_golden_records_that_score_otherwise_are_refused(home: Path) -> None:
    golden = json.loads((home / "golden.json").read_bytes())
    golden[17]["score"] += 10 * TOLERANCE
    (home / "golden.json").write_bytes(dump(golden))
    with pytest.raises(ContractError, match=r"golden records of .* do not score as when it was made"):
        load(store_of(home), changed(home)).replay_golden()


def test_saving_again_changes_nothing(home: Path) -> None:
    core = {name: (home / name).read_bytes() for name in CORE}
    before = {path.name: path.stat().st_mtime_ns for path in home.iterdir()}
    assert save(store_of(home), core, {"model_card.md": b"another"}) == home.name
    assert {path.name: path.stat().st_mtime_ns for path in home.iterdir()} == before


def test_saving_again_mends_what_was_altered(home: Path) -> None:
    core = {name: (home / name).read_bytes() for name in CORE}
    (home / "model.onnx").write_bytes(b"altered")
    assert save(store_of(home), core, {}) == home.name
    assert load(store_of(home), home.name).replay_golden() == 64


def test_a_bundle_that_was_cut_off_while_saved_is_none_and_is_completed_by_the_next_save(home: Path) -> None:
    core = {name: (home / name).read_bytes() for name in CORE}
    other = str(home.parents[2] / "other")
    for name in CORE[:-1]:
        files.write(files.join(bundles.folder(other, home.name), name), core[name])
    with pytest.raises(ContractError, match="there is no bundle"):
        load(other, home.name)
    assert load(other, save(other, core, {})).digest == home.name


def test_an_object_store_works_like_a_directory(bundle: tuple[str, str]) -> None:
    home = Path(bundles.folder(*bundle))
    core = {name: (home / name).read_bytes() for name in CORE}
    digest = save("memory://bucket/store", core, {})
    assert bundles.newest("memory://bucket/store") == digest == bundle[1]
    assert load("memory://bucket/store", digest).replay_golden() == len(json.loads(core["golden.json"]))


def test_the_reference_reads_back_as_it_was_written(bundle: tuple[str, str]) -> None:
    content = (Path(bundles.folder(*bundle)) / "reference.json").read_bytes()
    assert Reference.load(content).dump() == content


@pytest.fixture(scope="module")
def winter_and_summer(lake: str) -> tuple[Rows, Rows]:
    """Four weeks to fit on, and two weeks of July, with more than ten thousand real rows."""
    february, july = (
        rows_of(records_of(lake, [day.date() for day in pd.date_range(since, until)]))
        for since, until in (("2013-02-01", "2013-02-28"), ("2013-07-01", "2013-07-14"))
    )
    return february, july


AS_IS = Calibration(1.0, 0.0)


@pytest.mark.parametrize("calibration", [AS_IS, Calibration(0.7, -0.6)], ids=["as is", "calibrated"])
@pytest.mark.parametrize("name", ["constant", "logistic", "lightgbm", "skewed"])
def test_a_graph_equals_its_rung_on_ten_thousand_rows_of_another_month(
    winter_and_summer: tuple[Rows, Rows], name: str, calibration: Calibration
) -> None:
    fitted_on, unseen = winter_and_summer
    rungs = ladder(seed=1, threads=1)
    rung = {**rungs, "skewed": Skewed(rungs["logistic"], keep=0.2, seed=1)}[name]
    rung.fit(fitted_on.frame, fitted_on.outcomes)
    expected = calibration.applied(rung.predict_proba(unseen.frame)[:, 1])
    found = Scorer(export(rung, calibration, fitted_on)).score(unseen.inputs)
    assert len(found) > 10_000
    assert np.abs(found - expected).max() <= 1e-5


@pytest.mark.parametrize("name", ["constant", "logistic", "lightgbm"])
def test_unseen_categories_and_rows_without_any_value_are_scored(
    winter_and_summer: tuple[Rows, Rows], name: str
) -> None:
    fitted_on, _ = winter_and_summer
    rung = ladder(seed=1, threads=1)[name].fit(fitted_on.frame, fitted_on.outcomes)
    scorer, few = Scorer(export(rung, AS_IS, fitted_on)), fitted_on.where(np.arange(len(fitted_on.outcomes)) < 3)
    for category in ("", "never seen"):
        strange = Inputs(np.full_like(few.inputs.numbers, np.nan), np.full_like(few.inputs.categories, category))
        scores = scorer.score(strange)
        assert ((scores > 0) & (scores < 1)).all()


def test_values_on_both_sides_of_a_split_take_the_same_branch_in_the_graph(
    winter_and_summer: tuple[Rows, Rows],
) -> None:
    """Neighbours among float32 values, between which the threshold, a float64, would round onto the larger one."""
    real = winter_and_summer[0]
    numbers = real.inputs.numbers.copy()
    numbers[:, 0] = np.where(real.outcomes == 1, np.float32(1000), np.nextafter(np.float32(1000), np.float32(0)))
    apart = Rows(Inputs(numbers, real.inputs.categories), real.outcomes, real.days, real.keys)
    rung = ladder(seed=1, threads=1)["lightgbm"].fit(apart.frame, apart.outcomes)
    found = Scorer(export(rung, AS_IS, apart)).score(apart.inputs)
    assert found[real.outcomes == 1].min() > found[real.outcomes == 0].max()


def test_the_bundles_graph_scores_one_row_as_it_scores_many(bundle: tuple[str, str], records: pd.DataFrame) -> None:
    scorer = load(*bundle).scorer
    together = scorer.score(inputs(columns_of_frame(records)))
    alone = [scorer.score(inputs(columns_of_frame(records.iloc[[row]])))[0] for row in range(0, len(records), 50)]
    assert np.abs(together[::50] - alone).max() <= TOLERANCE


def test_a_bundle_of_fewer_features_than_the_code_computes_scores_as_before(
    bundle: tuple[str, str], records: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a challenger with a new feature can be judged against, and rolled back to, a champion without it."""
    given = inputs(columns_of_frame(records))
    chosen = given.of(["carrier", "distance", "departure_minute"])
    assert (chosen.numbers == given.numbers[:, [NAMES.index("distance"), 0]]).all()
    assert (chosen.categories[:, 0] == records.carrier).all()
    before = load(*bundle).scorer.score(given)
    monkeypatch.setattr("ml.contract.scorer.NAMES", ("moon_phase", *NAMES))
    assert (load(*bundle).scorer.score(given) == before).all()


def test_a_bundle_of_a_feature_that_is_no_longer_computed_is_refused_by_its_name(home: Path) -> None:
    digest = changed(home, features=[*NAMES, "moon_phase"])
    with pytest.raises(ContractError, match=r"was trained on moon_phase, which ml/problem/features\.py no longer"):
        load(store_of(home), digest)


def rooted(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    for module in (origin, revision):
        monkeypatch.setattr(module, "ROOT", folder)


def test_provenance_outside_an_own_repository_is_the_trees_hash(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rooted(monkeypatch, project)
    records = project / "records"
    records.write_bytes(b"data")
    found = origin.provenance(records)
    assert found["commit"] is None
    assert found["data"] == "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7"
    (project / "ml" / "__pycache__").mkdir()
    (project / "ml" / "__pycache__" / "errors.pyc").touch()
    assert origin.provenance(records) == found
    (project / "ml" / "errors.py").write_text("changed")
    assert origin.provenance(records)["tree"] != found["tree"]
    assert origin.provenance(records)["locks"] == found["locks"]


def test_provenance_in_an_own_repository_is_its_commit(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> str:
        person = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        return subprocess.run(["git", *person, *words], cwd=project, check=True, capture_output=True, text=True).stdout

    rooted(monkeypatch, project)
    (project / "records").touch()
    git("init", "--quiet")
    assert origin.provenance(project / "records")["commit"] is None  # no commit yet
    git("add", "ml", "project.toml", "pyproject.toml", "requirements")
    git("commit", "--quiet", "--message", "First")
    head = git("rev-parse", "HEAD").strip()
    assert origin.provenance(project / "records")["commit"] == head
    (project / "ml" / "errors.py").write_text("changed")
    assert origin.provenance(project / "records")["commit"] == f"{head}+changes"
    rooted(monkeypatch, project / "ml")  # a folder of another repository
    assert origin.provenance(project / "records")["commit"] is None
    monkeypatch.setenv("ML_REVISION", head)  # as in an image, which has no repository
    assert origin.provenance(project / "records")["commit"] == head
