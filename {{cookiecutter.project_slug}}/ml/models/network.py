"""A small neural network that learns a vector for every category; torch is needed to fit it, never to score."""

import warnings

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from ml.models.descent import descend

HELD_OUT = 0.15  # share of the rows, the newest, that say when to stop
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
        labels = np.asarray(outcomes, dtype=np.float32)
        cut = len(labels) - max(1, int(HELD_OUT * len(labels)))  # what lies after is only judged on
        self._prepare(frame.iloc[:cut])
        self.classes_ = np.array([0, 1])
        scaled, codes = self._encode(frame)
        sizes = [len(vocabulary) + 1 for vocabulary in self.vocabularies_]
        learned = descend(self, sizes, scaled, codes, labels, cut)
        self.embeddings_, self.weights_, self.biases_, self.losses_ = learned
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
