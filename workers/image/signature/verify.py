"""Judging a signature by its distance to a subject's specimens, in units of their own spread."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.image.signature.deform import distances

Floats = NDArray[np.float32]

_TYPICAL_SPREAD: Final = 0.40
"""How far a hand's signatures lie from five specimens of it."""
_SINGLE_SPREAD: Final = 0.47
"""The same from a single specimen, where there is no nearest to profit from."""
_PRIOR_SPECIMENS: Final = 3.0
"""So many specimens the typical spread is worth beside the subject's own, which few tell only roughly."""
_TYPICAL_OTHERS: Final = 0.75
"""How far a specimen lies from the nearest signatures of other subjects."""
_NEAREST_OTHERS: Final = 5
_FORGED_MEAN: Final = 0.27
_FORGED_DEVIATION: Final = 0.075
"""Excess of imitations, as of casual ones in Cross-media-Signatures (MIT), rounded up."""
_FORGED_FEW: Final = 0.045
"""Added to the deviation where there is one specimen, a quarter of it with two, a ninth with three: from few,
a subject's own spread is hardly known, and some forgeries seem nearer than they are."""
_MIDDLE: Final = 0.15
_STEEPNESS: Final = 25.0
"""Excess at which genuine and forged are even, and how fast one gives way to the other."""


@dataclass(frozen=True)
class Comparison:
    """A signature against a subject.

    Attributes:
        excess: log of the distance to the specimens over their own distances to one another; about 0 for
            genuine signatures, higher for others.
        distances: to each specimen, float32, shape (k,).
    """

    excess: float
    distances: Floats


class Subject:
    """A subject's specimens and their spread.

    Args:
        specimens: 1 or more descriptions, each float32, shape (rows, columns, directions).
        others: signatures of other subjects; the fewer specimens there are, the more they count.
    """

    def __init__(self, specimens: Sequence[Floats], others: Sequence[Floats] = ()) -> None:
        self._specimens = np.stack(specimens)
        self._spread = self._own_spread() * self._against(others)

    def compare(self, query: Floats) -> Comparison:
        """Compare a description with the specimens."""
        apart = distances(query, self._specimens)
        return Comparison(float(np.log(max(_summary(apart), 1e-6) / self._spread)), apart)

    def _own_spread(self) -> float:
        """How far each specimen lies from the others, shrunk towards what is typical."""
        count = len(self._specimens)
        if count == 1:
            return _SINGLE_SPREAD
        apart = np.zeros((count, count), np.float32)
        for index in range(1, count):
            apart[index, :index] = distances(self._specimens[index], self._specimens[:index])
        apart += apart.T
        own = float(np.mean([_summary(np.delete(row, index)) for index, row in enumerate(apart)]))
        # copies of one signature as specimens must not make everything else a forgery
        own = max(own, _TYPICAL_SPREAD / 4)
        share = count / (count + _PRIOR_SPECIMENS)
        return float(own**share * _TYPICAL_SPREAD ** (1 - share))

    def _against(self, others: Sequence[Floats]) -> float:
        """What others' signatures say of the specimens' scale: dense ones are nearer to everything."""
        if len(others) < _NEAREST_OTHERS:
            return 1.0
        stacked = np.stack(others)
        nearest = [np.sort(distances(one, stacked))[:_NEAREST_OTHERS].mean() for one in self._specimens]
        return float((np.mean(nearest) / _TYPICAL_OTHERS) ** (1 / len(self._specimens)))


def score_of(excess: float) -> float:
    """The score of an excess: how likely the signature is genuine, at even odds, in [0, 1]."""
    return float(1 / (1 + np.exp(np.clip(_STEEPNESS * (excess - _MIDDLE), -60, 60))))


def excess_of(score: float) -> float:
    """The excess that has a score; the inverse of `score_of`, inside (0, 1)."""
    inside = min(max(score, 1e-9), 1 - 1e-9)
    return _MIDDLE + float(np.log(1 / inside - 1)) / _STEEPNESS


def excess_at(false_accepts: float, specimens: int) -> float:
    """The excess below which this share of imitations lies.

    Args:
        false_accepts: in (0, 1).
        specimens: how many the subject has.
    """
    deviation = _FORGED_DEVIATION + _FORGED_FEW / specimens**2
    return _FORGED_MEAN + deviation * NormalDist().inv_cdf(false_accepts)


def _summary(apart: Floats) -> float:
    """Half the nearest, half the mean: the nearest alone is a matter of luck, the mean alone of variety."""
    return (float(apart.min()) + float(apart.mean())) / 2
