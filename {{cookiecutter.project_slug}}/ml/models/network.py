"""A small neural network that learns a vector for every category; torch is needed to fit it, never to score."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from ml.errors import ContractError

HELD_OUT = 0.15  # share of the rows, the newest, that say when to stop
PATIENCE = 5  # epochs without a better one before it stops
LIMIT = np.float32(5)  # standard deviations at which a number is cut: nothing was learned of what lies beyond

Floats = NDArray[np.float32]


class EmbeddingNetwork(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # sklearn has no types
    """Two hidden layers over numbers and learned vectors of categories (Guo and Berkhahn 2016), stopped early.

    `numbers` and `categories` are places of columns in the frame: float32 with NaN for missing, text with "" for
    missing. Categories seen fewer than `rare` times share one vector with unseen and missing ones. `embedding` is
    the length of a vector, `hidden` the width of a layer; `dropout` is the share of hidden units, and of categories
    taken for unseen, that a step leaves out; `weight_decay` is AdamW's (Loshchilov and Hutter 2019), of all weights
    and vectors. `batch` counts rows; of at most `epochs` passes, the one is kept whose log loss on the newest rows
    is lowest. Once fitted it holds numpy arrays alone; `losses_` are those log losses, one an epoch.
    """

    def __init__(
        self,
        numbers: tuple[int, ...],
        categories: tuple[int, ...],
        embedding: int = 8,
        hidden: int = 32,
        dropout: float = 0.2,
        weight_decay: float = 1.0,
        learning_rate: float = 0.001,
        epochs: int = 30,
        batch: int = 1024,
        rare: int = 20,
        seed: int = 0,
        threads: int = 1,
    ) -> None:
        self.numbers, self.categories = numbers, categories
        self.embedding, self.hidden, self.dropout, self.weight_decay = embedding, hidden, dropout, weight_decay
        self.learning_rate, self.epochs, self.batch, self.rare = learning_rate, epochs, batch, rare
        self.seed, self.threads = seed, threads

    def fit(self, frame: pd.DataFrame, outcomes: ArrayLike) -> "EmbeddingNetwork":
        """Fit on rows in the order of days and their outcomes, 0 or 1, [n]; the same bytes for the same seed.

        Raises ContractError where torch is not installed.
        """
        torch = _torch()
        labels = np.asarray(outcomes, dtype=np.float32)
        cut = len(labels) - max(1, int(HELD_OUT * len(labels)))  # what lies after is only judged on
        self._prepare(frame.iloc[:cut])
        self.classes_ = np.array([0, 1])
        scaled, codes = (torch.from_numpy(array) for array in self._encode(frame))
        with _deterministic(torch, self.threads):
            self._learn(torch, scaled, codes, torch.from_numpy(labels), cut)
        return self

    def predict_proba(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Return the probabilities of outcome 0 and 1, [n, 2]; raises NotFittedError before `fit`."""
        check_is_fitted(self)
        scaled, codes = self._encode(frame)
        layer = np.hstack([scaled, *(table[codes[:, at]] for at, table in enumerate(self.embeddings_))])
        for weight, bias in zip(self.weights_[:-1], self.biases_[:-1], strict=True):
            layer = np.maximum(layer @ weight + bias, 0)
        logit = layer @ self.weights_[-1] + self.biases_[-1]
        with np.errstate(over="ignore"):
            positive = (1 / (1 + np.exp(-logit))).astype(np.float64)
        return np.hstack([1 - positive, positive])

    def predict(self, frame: pd.DataFrame) -> NDArray[np.int64]:
        """Return the likelier outcome of each row, [n]."""
        return np.asarray(self.classes_[self.predict_proba(frame).argmax(axis=1)])

    def _prepare(self, frame: pd.DataFrame) -> None:
        """Learn from the rows before the cut how numbers are filled and scaled, and which categories stand alone."""
        numbers = frame.iloc[:, list(self.numbers)].to_numpy(np.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a number that is always missing has no median
            self.medians_ = np.nan_to_num(np.nanmedian(numbers, axis=0)).astype(np.float32)
        filled = np.where(np.isnan(numbers), self.medians_, numbers).astype(np.float64)
        spread = filled.std(axis=0)
        self.means_ = filled.mean(axis=0).astype(np.float32)
        self.scales_ = np.where(spread > 0, spread, 1).astype(np.float32)
        self.flagged_ = np.flatnonzero(np.isnan(numbers).any(axis=0))
        self.vocabularies_ = []
        for place in self.categories:
            names, counts = np.unique(frame.iloc[:, place].to_numpy(object), return_counts=True)
            self.vocabularies_.append(names[(counts >= self.rare) & (names != "")])

    def _encode(self, frame: pd.DataFrame) -> tuple[Floats, NDArray[np.int64]]:
        """Return the numbers, filled and scaled, with their missing flags, and the categories' rows in the tables."""
        numbers = frame.iloc[:, list(self.numbers)].to_numpy(np.float32)
        missing = np.isnan(numbers)
        with np.errstate(over="ignore"):
            scaled = (np.where(missing, self.medians_, numbers) - self.means_) / self.scales_
        codes = np.zeros((len(frame), len(self.categories)), dtype=np.int64)
        for at, (place, vocabulary) in enumerate(zip(self.categories, self.vocabularies_, strict=True)):
            codes[:, at] = pd.Index(vocabulary, dtype=object).get_indexer(frame.iloc[:, place].astype(object)) + 1
        return np.hstack([np.clip(scaled, -LIMIT, LIMIT), missing[:, self.flagged_].astype(np.float32)]), codes

    def _learn(self, torch: Any, scaled: Any, codes: Any, labels: Any, cut: int) -> None:
        """Descend on the rows before `cut`, and keep what was best on the rows from there on."""
        chance = torch.Generator().manual_seed(self.seed)
        functional = torch.nn.functional

        def random(rows: int, columns: int, spread: float) -> Any:
            return torch.randn(rows, columns, generator=chance, dtype=torch.float32).mul_(spread).requires_grad_()

        sizes = [len(vocabulary) + 1 for vocabulary in self.vocabularies_]
        tables = [random(size, min(self.embedding, size), 0.1) for size in sizes]
        widths = [scaled.shape[1] + sum(table.shape[1] for table in tables), self.hidden, self.hidden]
        weights = [random(width, self.hidden, (2 / width) ** 0.5) for width in widths[:-1]]
        weights.append(random(self.hidden, 1, 0.3 * self.hidden**-0.5))  # begins close to the base rate
        biases = [torch.zeros(width, requires_grad=True) for width in widths[1:]]
        biases.append(torch.logit(labels[:cut].mean(), eps=1e-6).reshape(1).requires_grad_())

        def kept(shape: Any) -> Any:
            return torch.rand(shape, generator=chance) >= self.dropout

        def loss(rows: Any, learning: bool) -> Any:
            seen = codes[rows] * kept(codes[rows].shape) if learning else codes[rows]
            vectors = [functional.embedding(seen[:, at], table) for at, table in enumerate(tables)]
            layer = torch.cat([scaled[rows], *vectors], dim=1)
            for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
                layer = torch.relu(layer @ weight + bias)
                layer = layer * kept(layer.shape) / (1 - self.dropout) if learning else layer
            logit = (layer @ weights[-1] + biases[-1])[:, 0]
            return functional.binary_cross_entropy_with_logits(logit, labels[rows])

        groups = [{"params": [*tables, *weights]}, {"params": biases, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=self.learning_rate, weight_decay=self.weight_decay)
        losses: list[float] = []
        for _ in range(self.epochs):
            for rows in torch.randperm(cut, generator=chance).split(self.batch):
                optimizer.zero_grad()
                loss(rows, learning=True).backward()
                optimizer.step()
            with torch.no_grad():
                losses.append(loss(slice(cut, None), learning=False).item())
            best = int(np.argmin(losses))
            if best == len(losses) - 1:
                self.embeddings_, self.weights_, self.biases_ = (
                    [tensor.detach().numpy().copy() for tensor in tensors] for tensors in (tables, weights, biases)
                )
            elif len(losses) - 1 - best >= PATIENCE:
                break
        self.losses_ = np.array(losses)


def _torch() -> Any:
    """Return torch, which only training needs."""
    try:
        import torch
    except ModuleNotFoundError as error:
        mend = "Run `pip install torch==2.13.0`, or take network out of [train] rungs in project.toml"
        raise ContractError("network", "torch is not installed", mend) from error
    return torch


@contextmanager
def _deterministic(torch: Any, threads: int) -> Iterator[None]:
    """Let torch repeat itself byte for byte, and leave it afterwards as it was."""
    was, warned, used = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.get_num_threads(),
    )
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(was, warn_only=warned)
        torch.set_num_threads(used)
