"""Who gets whose answer: a pure function of the experiment, the salt and the entity.

Every arm has a stretch of the circle of its own, and grows within it from its beginning. So an entity stays in its arm,
a share that grows keeps who was in it, and one arm takes nobody from another.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ml.contract.release import Experiment

WHOLE = 2.0**64


class Router:
    """Assigns entities to the arms of one experiment."""

    def __init__(self, experiment: Experiment, salt: bytes) -> None:
        self._keyed = hashlib.blake2b(key=salt, person=b"experiment", digest_size=8)
        self._keyed.update(f"{experiment.name}:".encode())
        shares = [arm.percent / 100 for arm in experiment.arms.values()]
        self._begins = np.arange(len(shares)) / len(shares)
        self._ends = self._begins + np.array(shares)

    def assign(self, entities: Iterable[str | None]) -> NDArray[np.int64]:
        """Return the place of each entity's arm among the experiment's, [n], from 1 on.

        The champion's is 0: of an entity that no arm has, and of a record without one (None).
        """
        places = np.array([self._place(each) if each is not None else np.nan for each in entities])
        inside = (places[:, None] >= self._begins) & (places[:, None] < self._ends)
        return np.asarray(np.where(inside.any(axis=1), inside.argmax(axis=1) + 1, 0))

    def _place(self, entity: str) -> float:
        """Return where an entity lies on the circle, in 0..1, evenly and of its own for each experiment."""
        keyed = self._keyed.copy()
        keyed.update(entity.encode())
        return int.from_bytes(keyed.digest()) / WHOLE
