"""Whitening with a shrunken covariance: the space in which a shared-covariance mixture is cheap to fit."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.text.heads.base import Embeddings

Matrix = NDArray[np.float64]
"""float64, two dimensions."""


@dataclass(frozen=True)
class Whitening:
    """z = (x − mean) · basis, with unit covariance up to the shrinkage.

    The covariance T is replaced by (1 − a)·T + a·(tr T / d)·I (Ledoit and Wolf, 2004, with a fixed), so that
    directions in which a small sample hardly varies are not blown up into noise.

    Attributes:
        mean: float64, shape (d,), the sample's mean.
        basis: float64, shape (d, d).
        shrinkage: a, in (0, 1].
    """

    mean: NDArray[np.float64]
    basis: Matrix
    shrinkage: float

    @classmethod
    def fit(cls, sample: Embeddings, shrinkage: float) -> "Whitening":
        """Fit to a sample.

        Args:
            sample: shape (n, d), n ≥ 1.
            shrinkage: a, in (0, 1]; the covariance of few rows is shrunk further, by d / (d + 2n).

        Returns:
            The whitening; a sample without any spread gives the identity around its mean.
        """
        count, width = sample.shape
        centre = sample.mean(axis=0, dtype=np.float64)
        rest = (sample - centre).astype(np.float32)
        covariance = (rest.T @ rest).astype(np.float64) / count
        variances, axes = np.linalg.eigh(covariance)
        amount = max(shrinkage, width / (width + 2.0 * count))
        level = float(variances.mean())
        if level <= 1e-12:
            return cls(centre, np.eye(width), 1.0)
        shrunk = (1.0 - amount) * np.maximum(variances, 0.0) + amount * level
        return cls(centre, axes / np.sqrt(shrunk), amount)

    def undone(self, weights: Matrix, bias: NDArray[np.float64]) -> tuple[Matrix, NDArray[np.float64]]:
        """Turn weights, shape (L, d), and biases, shape (L,), for whitened rows into those for plain ones."""
        plain = weights @ self.basis.T
        return plain, bias - plain @ self.mean

    def apply(self, embeddings: Embeddings) -> Matrix:
        """Map embeddings, shape (m, d), to float64 of the same shape."""
        return np.asarray((embeddings - self.mean) @ self.basis, dtype=np.float64)
