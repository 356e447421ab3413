"""Fits the network's vectors and layers; the only place that knows torch, which it loads when it is needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ml.errors import ContractError
from ml.models.nodes import Nodes

PATIENCE = 5  # epochs without a better one before it stops

Floats = NDArray[np.float32]


class Asked(Protocol):
    """What the network's parameters say of the descent."""

    embedding: int
    hidden: int
    dropout: float
    weight_decay: float
    learning_rate: float
    epochs: int
    batch: int
    seed: int
    threads: int


class Learned(NamedTuple):
    """Tables of vectors, weights and biases of the layers, and the log loss on the newest rows, one an epoch."""

    embeddings: list[Floats]
    weights: list[Floats]
    biases: list[Floats]
    losses: NDArray[np.float64]


def descend(
    asked: Asked, sizes: list[int], scaled: Floats, codes: NDArray[np.int64], labels: Floats, cut: int
) -> Learned:
    """Fit on the rows before `cut`, stop by those from there on; `sizes` are the rows of each table of vectors.

    Raises ContractError where torch is not installed.
    """
    torch = _torch()
    with _deterministic(torch, asked.threads):
        rows = [torch.from_numpy(array) for array in (scaled, codes, labels)]
        return _descend(torch, asked, sizes, rows[0], rows[1], rows[2], cut)


def _descend(torch: Any, asked: Asked, sizes: list[int], scaled: Any, codes: Any, labels: Any, cut: int) -> Learned:
    """Descend on the rows before `cut`, and keep what was best on the rows from there on."""
    chance, nodes = torch.Generator().manual_seed(asked.seed), Nodes(torch)
    functional = torch.nn.functional

    def random(rows: int, columns: int, spread: float) -> Any:
        return torch.randn(rows, columns, generator=chance, dtype=torch.float32).mul_(spread).requires_grad_()

    tables = [random(size, min(asked.embedding, size), 0.1) for size in sizes]
    widths = [scaled.shape[1] + sum(table.shape[1] for table in tables), asked.hidden, asked.hidden]
    weights = [random(width, asked.hidden, (2 / width) ** 0.5) for width in widths[:-1]]
    weights.append(random(asked.hidden, 1, 0.3 * asked.hidden**-0.5))  # begins close to the base rate
    biases = [torch.zeros(width, requires_grad=True) for width in widths[1:]]
    biases.append(torch.logit(labels[:cut].mean(), eps=1e-6).reshape(1).requires_grad_())

    def loss(rows: Any, learning: bool) -> Any:
        batch, rows = len(rows), rows[nodes.share] if learning else rows

        def kept(width: int) -> Any:
            return (torch.rand(batch, width, generator=chance) >= asked.dropout)[nodes.share]

        seen = codes[rows] * kept(codes.shape[1]) if learning else codes[rows]
        vectors = [functional.embedding(seen[:, at], table) for at, table in enumerate(tables)]
        layer = torch.cat([scaled[rows], *vectors], dim=1)
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            layer = torch.relu(layer @ weight + bias)
            layer = layer * kept(layer.shape[1]) / (1 - asked.dropout) if learning else layer
        logit = (layer @ weights[-1] + biases[-1])[:, 0]
        return functional.binary_cross_entropy_with_logits(logit, labels[rows], reduction="sum") / batch

    groups = [{"params": [*tables, *weights]}, {"params": biases, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=asked.learning_rate, weight_decay=asked.weight_decay)
    losses: list[float] = []
    for _ in range(asked.epochs):
        for rows in torch.randperm(cut, generator=chance).split(asked.batch):
            optimizer.zero_grad()
            loss(rows, learning=True).backward()
            nodes.add([tensor.grad for tensor in (*tables, *weights, *biases)])
            optimizer.step()
        with torch.no_grad():
            losses.append(nodes.agree(loss(torch.arange(cut, len(labels)), learning=False)).item())
        best = int(np.argmin(losses))
        if best == len(losses) - 1:
            kept_best = [[tensor.detach().numpy().copy() for tensor in part] for part in (tables, weights, biases)]
        elif len(losses) - 1 - best >= PATIENCE:
            break
    return Learned(kept_best[0], kept_best[1], kept_best[2], np.array(losses))


def _torch() -> Any:
    """Return torch, which only training needs."""
    try:
        import torch
    except ModuleNotFoundError as error:
        mend = "Run `pip install torch==2.13.0`, or leave the network out of [train] rungs in project.toml"
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
