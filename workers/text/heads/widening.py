"""Wide rows: a sentence's embedding, and beside it what the model's middle layers make of the sentence.

The last layer is trained to bring together what is about the same, and forgets tone, urgency and wording on
the way; the layers before it still know them. Labels are described in the last layer's space only, so the
middle layers count for nothing until examples or the stream say what they are good for.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.text.heads.base import Embeddings
from workers.text.heads.phrases import unit_rows
from workers.text.heads.whitening import Matrix

SHARE: Final = 0.8
"""Length of the middle layers' part beside the embedding's, which is 1; 0.4 to 1 are level."""

FEWEST: Final = 8
"""Rows below which nothing can be said of what the middle layers usually give."""


def narrow(rows: Embeddings, width: int) -> Embeddings:
    """The embeddings alone, shape (n, width), of rows that may be wide."""
    return rows[:, :width]


@dataclass(frozen=True)
class Widening:
    """Weighs the two parts of wide rows against each other; plain embeddings go through as they are.

    The middle layers' rows all point the same way, so their mean is taken off; what is left is scaled to the
    length SHARE on average, and the whole row to length 1.

    Attributes:
        width: d, of the embeddings.
        mean: float32, shape (e,), of the middle layers' part; e is 0 where there is none.
        scale: what the rest of that part is multiplied by; 0 leaves it out.
    """

    width: int
    mean: NDArray[np.float32]
    scale: float

    @classmethod
    def fit(cls, rows: Embeddings, width: int) -> "Widening":
        """Fit to rows of the stream and examples.

        Args:
            rows: shape (n, d) or (n, d + e); both parts unit rows; n may be 0.
            width: d.
        """
        middle = rows[:, width:]
        if len(rows) < FEWEST or not middle.shape[1]:
            return cls(width, np.zeros(middle.shape[1], np.float32), 0.0)
        mean = middle.mean(axis=0, dtype=np.float64)
        spread = 1.0 - float(mean @ mean)  # mean squared length of the rest, as rows are of length 1
        scale = SHARE / float(np.sqrt(spread)) if spread > 1e-6 else 0.0
        return cls(width, mean.astype(np.float32), scale)

    def apply(self, rows: Embeddings) -> Embeddings:
        """Make rows comparable.

        Args:
            rows: shape (m, d + e), or (m, d) where only the embedding is known: the middle layers are then
                taken to say what they usually say.

        Returns:
            float32, shape (m, d + e), unit rows.
        """
        if not len(self.mean):
            return rows
        found = np.zeros((len(rows), self.width + len(self.mean)), np.float32)
        found[:, : self.width] = rows[:, : self.width]
        if rows.shape[1] > self.width:
            found[:, self.width :] = self.scale * (rows[:, self.width :] - self.mean)
        return unit_rows(found).astype(np.float32)

    def directions(self, prototypes: Matrix) -> Matrix:
        """Directions in the embeddings' space, shape (L, d), as directions in that of wide rows.

        A product with a wide row is about what it would be with its embedding.
        """
        if not len(self.mean):
            return prototypes
        length = np.sqrt(1.0 + SHARE**2) if self.scale else 1.0
        rest = np.zeros((len(prototypes), len(self.mean)))
        return np.concatenate([length * prototypes, rest], axis=1)
