"""The network with learned categories: fitted by torch, scored without it, and one graph that says the same."""

import builtins
import hashlib
import importlib.util
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.metrics import log_loss

from ml.contract.scorer import Scorer
from ml.errors import ContractError
from ml.features.rows import Rows, from_parquet, records_of, rows_of, to_parquet
from ml.features.table import CATEGORIES, MISSING, NAMES, NUMBERS, Inputs
from ml.models.descent import PATIENCE
from ml.models.network import HELD_OUT, EmbeddingNetwork
from ml.training.fitted import read
from ml.training.network_graph import network_graph
from ml.training.train import train

ROOT = Path(__file__).resolve().parents[1]
N, C = len(NUMBERS), len(CATEGORIES)
NUMBER_PLACES, CATEGORY_PLACES = tuple(range(N)), tuple(range(N, N + C))

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed: pip install torch==2.13.0"
)


def learns(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test of the second tier that fits a network."""
    return pytest.mark.slow(needs_torch(test))


def network(**given: Any) -> EmbeddingNetwork:
    """Return an unfitted network over all features of the flights, of few epochs."""
    return EmbeddingNetwork(**{"numbers": NUMBER_PLACES, "categories": CATEGORY_PLACES, "epochs": 4, **given})


def graph_of(fitted: EmbeddingNetwork) -> bytes:
    return bytes(network_graph(fitted).SerializeToString(deterministic=True))


def frame_of(inputs: Inputs) -> pd.DataFrame:
    return Rows(inputs, np.zeros(0, np.int64), np.zeros(0, object), np.zeros(0, np.uint64)).frame


def apart(fitted: EmbeddingNetwork, inputs: Inputs) -> float:
    """Return how far the graph and the estimator are apart, at most, after both gave probabilities."""
    graph, own = Scorer(graph_of(fitted)).score(inputs), fitted.predict_proba(frame_of(inputs))
    for scores in (graph, own):
        assert np.isfinite(scores).all()
        assert scores.min() >= 0
        assert scores.max() <= 1
    assert own.shape == (len(inputs.numbers), 2)
    assert np.allclose(own.sum(axis=1), 1)
    return float(np.abs(graph - own[:, 1]).max())


@pytest.fixture(scope="module")
def winter(lake: str) -> Rows:
    """Four weeks of real flights."""
    return rows_of(records_of(lake, pd.date_range("2013-02-01", "2013-02-28").date.tolist()))


@pytest.fixture(scope="module")
def spring(lake: str) -> Rows:
    """The two weeks after them."""
    return rows_of(records_of(lake, pd.date_range("2013-03-01", "2013-03-14").date.tolist()))


@pytest.fixture(scope="module")
def fitted(winter: Rows) -> EmbeddingNetwork:
    return network(epochs=10).fit(winter.frame, winter.outcomes)


def planted(rows: int = 4000) -> tuple[pd.DataFrame, np.ndarray[Any, Any]]:
    """Return rows whose newest ones contradict all before: a number and a category mean the opposite there."""
    random = np.random.default_rng(7)
    outcomes = random.integers(0, 2, rows)
    said = np.where(np.arange(rows) >= rows - int(HELD_OUT * rows), 1 - outcomes, outcomes)
    numbers = (said + random.normal(0, 0.5, rows)).astype(np.float32)
    return pd.DataFrame({"number": numbers, "category": np.where(said == 1, "late", "early")}), outcomes


def test_to_import_the_network_is_not_to_import_torch() -> None:
    asked = "import sys, ml.models.network; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


@learns
def test_the_graph_says_what_the_network_says_on_real_rows_of_other_days(
    fitted: EmbeddingNetwork, spring: Rows
) -> None:
    assert len(spring.outcomes) > 10_000
    assert np.ptp(fitted.predict_proba(spring.frame)[:, 1]) > 0.1  # not one score for all
    assert apart(fitted, spring.inputs) <= 1e-5


@learns
def test_a_row_alone_scores_in_the_graph_as_among_others(fitted: EmbeddingNetwork, spring: Rows) -> None:
    scorer = Scorer(graph_of(fitted))
    alone = [
        scorer.score(Inputs(*(array[[row]] for array in spring.inputs)))[0] for row in range(0, len(spring.days), 500)
    ]
    assert np.abs(scorer.score(spring.inputs)[::500] - alone).max() <= 1e-6


@learns
def test_what_was_never_seen_and_what_is_missing_scores_alike_in_graph_and_network(
    fitted: EmbeddingNetwork, spring: Rows
) -> None:
    numbers, categories = (array[:6].copy() for array in spring.inputs)
    numbers[0], categories[1] = np.nan, MISSING
    numbers[2], categories[2] = np.nan, MISSING
    categories[3] = "never seen"
    numbers[4], numbers[5] = np.finfo(np.float32).max, np.finfo(np.float32).min
    assert apart(fitted, Inputs(numbers, categories)) <= 1e-5


@learns
def test_unseen_rare_and_missing_categories_share_one_vector(winter: Rows, fitted: EmbeddingNetwork) -> None:
    place = NAMES.index("tailnum")
    counts = winter.frame["tailnum"].value_counts()
    fitted_on = winter.frame[: len(winter.days) - int(HELD_OUT * len(winter.days))]
    seen = fitted_on["tailnum"].value_counts()
    assert sorted(seen[(seen >= fitted.rare) & (seen.index != MISSING)].index) == list(fitted.vocabularies_[place - N])
    rare = next(name for name in counts.index if 0 < seen.get(name, 0) < fitted.rare)
    rows = winter.frame.iloc[[0] * 4].copy()
    rows.iloc[:, place] = [MISSING, "never seen", rare, fitted.vocabularies_[place - N][0]]
    scores = fitted.predict_proba(rows)[:, 1]
    assert scores[0] == scores[1] == scores[2] != scores[3]


@learns
@pytest.mark.parametrize("without", ["numbers", "categories"])
def test_it_works_without_numbers_and_without_categories(winter: Rows, without: str) -> None:
    some = winter.where(np.arange(len(winter.days)) % 5 == 0)
    fitted = network(**{without: ()}).fit(some.frame, some.outcomes)
    assert [given.name for given in network_graph(fitted).graph.input] == sorted({"numbers", "categories"} - {without})
    assert apart(fitted, winter.inputs) <= 1e-5


@learns
def test_a_number_that_never_varies_or_is_always_missing_does_no_harm(winter: Rows) -> None:
    some = winter.where(np.arange(len(winter.days)) % 5 == 0)
    numbers = some.inputs.numbers.copy()
    numbers[:, 0], numbers[:, 1] = np.nan, 7
    broken = Inputs(numbers, some.inputs.categories)
    fitted = network(rare=10**6).fit(frame_of(broken), some.outcomes)  # and every category is rare
    assert apart(fitted, broken) <= 1e-5
    assert apart(fitted, winter.inputs) <= 1e-5


@learns
def test_it_knows_more_than_the_base_rate_of_days_that_it_never_saw(
    fitted: EmbeddingNetwork, winter: Rows, spring: Rows
) -> None:
    base = np.full(len(spring.outcomes), winter.outcomes.mean())
    assert log_loss(spring.outcomes, fitted.predict_proba(spring.frame)) < log_loss(spring.outcomes, base) - 0.005
    assert (fitted.predict(spring.frame) == (fitted.predict_proba(spring.frame)[:, 1] > 0.5)).all()


@learns
def test_the_kept_epoch_is_the_best_on_the_newest_rows_and_not_the_last() -> None:
    frame, outcomes = planted()
    fitted = EmbeddingNetwork((0,), (1,), epochs=30, batch=100).fit(frame, outcomes)
    newest = len(frame) - int(HELD_OUT * len(frame))
    kept = log_loss(outcomes[newest:], fitted.predict_proba(frame[newest:]))
    assert kept == pytest.approx(fitted.losses_.min(), abs=1e-5)
    assert fitted.losses_[-1] > fitted.losses_.min() + 0.1
    assert len(fitted.losses_) == fitted.losses_.argmin() + 1 + PATIENCE


@learns
def test_nothing_is_prepared_from_the_rows_that_say_when_to_stop() -> None:
    frame, outcomes = planted()
    newest = len(frame) - int(HELD_OUT * len(frame))
    fitted = EmbeddingNetwork((0,), (1,), epochs=1).fit(frame, outcomes)
    other = frame.copy()
    other.iloc[newest:, 0], other.iloc[newest:, 1] = np.nan, "new"
    changed = EmbeddingNetwork((0,), (1,), epochs=1).fit(other, outcomes)
    assert graph_weights(changed) == graph_weights(fitted)
    assert changed.losses_[0] != fitted.losses_[0]


def graph_weights(fitted: EmbeddingNetwork) -> list[bytes]:
    """Return everything that a fitted network knows, but what it was judged by."""
    arrays = [fitted.medians_, fitted.means_, fitted.scales_, fitted.flagged_]
    arrays += [*fitted.embeddings_, *fitted.weights_, *fitted.biases_]
    return [array.tobytes() for array in arrays] + [str(list(names)).encode() for names in fitted.vocabularies_]


@learns
def test_the_same_seed_gives_the_same_graph_twice_and_in_another_process(winter: Rows, tmp_path: Path) -> None:
    some = winter.where(np.arange(len(winter.days)) % 3 == 0)
    first = graph_of(network(seed=5).fit(some.frame, some.outcomes))
    assert graph_of(network(seed=5).fit(some.frame, some.outcomes)) == first
    assert graph_of(network(seed=6).fit(some.frame, some.outcomes)) != first
    (tmp_path / "given").write_bytes(pickle.dumps((network(seed=5), some.frame, some.outcomes)))
    program = """
import hashlib, pickle, sys
from pathlib import Path
from ml.training.fitted import read
from ml.training.network_graph import network_graph
from ml.training.train import train
network, frame, outcomes = pickle.loads(Path(sys.argv[1]).read_bytes())
graph = network_graph(network.fit(frame, outcomes)).SerializeToString(deterministic=True)
print(hashlib.sha256(graph).hexdigest())
"""
    for order in ("1", "3"):
        ran = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "given")],
            env=os.environ | {"PYTHONHASHSEED": order, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stdout.strip() == hashlib.sha256(first).hexdigest()


@learns
def test_fitting_leaves_torch_as_it_found_it() -> None:
    import torch

    frame, outcomes = planted(400)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        chance = torch.get_rng_state()
        EmbeddingNetwork((0,), (1,), epochs=1, threads=1).fit(frame, outcomes)
        assert torch.get_num_threads() == 2
        assert not torch.are_deterministic_algorithms_enabled()
        assert torch.equal(torch.get_rng_state(), chance)
    finally:
        torch.set_num_threads(before)


@learns
def test_it_is_an_estimator_that_can_be_cloned_and_pickled(fitted: EmbeddingNetwork, spring: Rows) -> None:
    assert clone(fitted).get_params() == fitted.get_params()
    assert not [name for name in vars(clone(fitted)) if name.endswith("_")]
    again = pickle.loads(pickle.dumps(fitted))
    assert (again.predict_proba(spring.frame) == fitted.predict_proba(spring.frame)).all()


@learns
def test_without_torch_a_fitted_network_scores_and_a_new_one_says_what_to_install(
    fitted: EmbeddingNetwork, spring: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, kept = fitted.predict_proba(spring.frame), pickle.dumps(fitted)
    real = builtins.__import__

    def without_torch(name: str, *given: Any, **named: Any) -> Any:
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *given, **named)

    for name in [name for name in sys.modules if name.split(".")[0] == "torch"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without_torch)
    assert (pickle.loads(kept).predict_proba(spring.frame) == expected).all()
    said = (
        r"^network: torch is not installed\. Run `pip install torch==2\.13\.0`, or leave the network out of .*\.toml$"
    )
    with pytest.raises(ContractError, match=said):
        network().fit(spring.frame, spring.outcomes)


@learns
def test_the_network_climbs_the_ladder_like_any_rung(lake: str, tmp_path: Path) -> None:
    days = pd.date_range("2013-01-01", "2013-02-20").date.tolist()
    (tmp_path / "table").write_bytes(to_parquet(rows_of(records_of(lake, days))))
    for rung in ("network", "constant"):
        train(tmp_path / "table", tmp_path / rung, rung, seed=1, threads=1)
    (constant, _), (made, graph) = read([tmp_path / "network", tmp_path / "constant"])
    assert (constant.rung, made.rung) == ("constant", "network")
    assert made.loss < constant.loss
    scores = Scorer(graph).score(from_parquet(tmp_path / "table").of(made.days).inputs)
    assert abs(scores.mean() - made.base) < 0.03  # half the negatives were left out, and are put back


@learns
def test_two_nodes_share_each_batch_and_learn_what_one_learns(tmp_path: Path) -> None:
    frame, outcomes = planted()
    given = {"numbers": (0,), "categories": (1,), "epochs": 3, "batch": 511, "seed": 3}  # of odd size: shares differ
    (tmp_path / "given").write_bytes(pickle.dumps((EmbeddingNetwork(**given), frame, outcomes)))
    code = """
import os, pickle, sys
from pathlib import Path
folder = Path(sys.argv[1])
network, frame, outcomes = pickle.loads((folder / "given").read_bytes())
(folder / os.environ["RANK"]).write_bytes(pickle.dumps(network.fit(frame, outcomes)))
"""
    (tmp_path / "fit.py").write_text(code)
    runner = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    told = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    ran = subprocess.run(
        [*runner, str(tmp_path / "fit.py"), str(tmp_path)], env=told, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    first, second = (pickle.loads((tmp_path / rank).read_bytes()) for rank in "01")
    alone = EmbeddingNetwork(**given).fit(frame, outcomes)
    assert graph_weights(first) == graph_weights(second)
    assert graph_weights(first) != graph_weights(alone)  # summed in another order: they did share
    for name in ("embeddings_", "weights_", "biases_", "losses_"):
        for there, here in zip(getattr(first, name), getattr(alone, name), strict=True):
            assert np.allclose(there, here, rtol=1e-3, atol=1e-4)
