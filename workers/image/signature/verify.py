"""Judging a signature by its distance to a subject's specimens, in units of their own spread."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.image.signature.describe import Description

Floats = NDArray[np.float32]

_TYPICAL_SPREAD: Final = {"stretched": 0.55, "mixed": 0.55}
"""Distance between two genuine signatures that is assumed where a subject has one specimen only."""
_PRIOR_SPECIMENS: Final = 1.0
"""So many specimens' worth the typical spread counts beside the subject's own."""


@dataclass(frozen=True)
class Comparison:
    """A signature against a subject.

    Attributes:
        ratio: distance to the nearest specimen over the specimens' own; about 1 for genuine ones.
        similarities: to each specimen, in [0, 1], float32, shape (k,).
    """

    ratio: float
    similarities: Floats


class Subject:
    """A subject's specimens and their spread.

    Args:
        specimens: descriptions of 1 or more specimens.
    """

    def __init__(self, specimens: Sequence[Description]) -> None:
        self._features = {
            name: np.stack([one.features[name] for one in specimens]) for name in specimens[0].features
        }
        self._spread = {name: _spread(name, vectors) for name, vectors in self._features.items()}

    def compare(self, query: Description) -> Comparison:
        """Compare a signature with the specimens."""
        ratios, similarities = [], []
        for name, vectors in self._features.items():
            distance = np.linalg.norm(vectors - query.features[name], axis=1)
            ratios.append(float(distance.min()) / self._spread[name])
            similarities.append(1 - distance**2 / 2)
        return Comparison(float(np.mean(ratios)), np.clip(np.mean(similarities, axis=0), 0, 1))


def _spread(name: str, vectors: Floats) -> float:
    """Mean distance of a specimen to the nearest other one, shrunk towards what is typical."""
    typical = _TYPICAL_SPREAD[name]
    count = len(vectors)
    if count == 1:
        return typical
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    own = float(distances.min(axis=1).mean())
    return (own * count + typical * _PRIOR_SPECIMENS) / (count + _PRIOR_SPECIMENS)
