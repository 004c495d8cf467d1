"""Smoothing over a graph of posts: those that lie close together mostly share a label."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.text.heads.base import Embeddings
from workers.text.heads.phrases import unit_rows
from workers.text.heads.whitening import Matrix
from workers.text.heads.widening import narrow

NEIGHBOURS: Final = 15
"""Neighbours that a post is compared with."""

FALL_OFF: Final = 10.0
"""A neighbour counts exp(10 · cosine): one 0.07 farther counts half."""

FLOOR: Final = 0.02
"""Probability that a label keeps even where no neighbour has it."""

MOST_REFERENCES: Final = 2_000
"""Posts kept to look for neighbours in: 1.5 MFLOP a post, a thousandth of the sentence model's work."""

_BLOCK: Final = 512
"""Rows compared at a time, to bound memory."""


def nearest(
    queries: Embeddings, references: Embeddings, count: int, *, same: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find the nearest references by cosine, exactly.

    Args:
        queries: shape (m, d), unit rows.
        references: shape (n, d), unit rows, n ≥ 1.
        count: how many; fewer where there are fewer references.
        same: True where queries and references are the same rows: a row isn't its own neighbour.

    Returns:
        Positions int64 and weights float32 that sum to 1 in each row, both shape (m, k), in no order.
    """
    size = min(count, len(references) - (1 if same else 0))
    places = np.empty((len(queries), size), np.int64)
    weights = np.empty((len(queries), size), np.float32)
    for start in range(0, len(queries), _BLOCK):
        rows = slice(start, start + _BLOCK)
        cosines = queries[rows] @ references.T
        if same:
            cosines[np.arange(len(cosines)), start + np.arange(len(cosines))] = -2.0
        chosen = np.argpartition(-cosines, size - 1, axis=1)[:, :size]
        close = np.take_along_axis(cosines, chosen, axis=1)
        powers = np.exp(FALL_OFF * (close - close.max(axis=1, keepdims=True)))
        places[rows], weights[rows] = chosen, powers / powers.sum(axis=1, keepdims=True)
    return places, weights


def cut(rows: Embeddings, width: int) -> Embeddings:
    """The first `width` numbers of rows, scaled to length 1; the middle layers say little of who is near."""
    if rows.shape[1] == width:
        return rows
    return unit_rows(narrow(rows, width)).astype(np.float32)


def purity(labels: NDArray[np.int64], places: NDArray[np.int64]) -> float:
    """Compute the share of neighbours with a post's own label, in [0, 1]: how smooth labels lie."""
    return float((labels[places] == labels[:, None]).mean())


@dataclass(frozen=True)
class NeighbourVote:
    """What the neighbours of a post say.

    Attributes:
        references: shape (n, d), unit rows.
        posteriors: float64, shape (n, L), the references' label probabilities.
    """

    references: Embeddings
    posteriors: Matrix

    def score(self, embeddings: Embeddings) -> Matrix:
        """Score posts by the logarithm of their neighbours' weighted posteriors; float64, shape (m, L)."""
        places, weights = nearest(cut(embeddings, self.references.shape[1]), self.references, NEIGHBOURS)
        vote = np.einsum("mk,mkl->ml", weights, self.posteriors[places])
        return np.asarray(np.log(vote + FLOOR), dtype=np.float64)
