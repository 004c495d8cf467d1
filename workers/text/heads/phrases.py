"""What labels say of themselves: prototypes from their phrases."""

import numpy as np

from workers.text.heads.base import Embeddings, LabelSpace
from workers.text.heads.whitening import Matrix

SHARPNESS = 20.0
"""Cosines are multiplied by this before softmax: differences of 0.05 between labels are a clear sign."""


def unit_rows(rows: Embeddings | Matrix) -> Matrix:
    """Scale rows to length 1; a zero row stays zero."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), dtype=np.float64)


def prototypes(space: LabelSpace) -> Matrix:
    """Average each label's phrases.

    Returns:
        float64, shape (L, d), unit rows; a label without any phrase gets a zero row, so that it is
        neither attractive nor forbidden.
    """
    sums = np.zeros((len(space.names), space.phrase_embeddings.shape[1]))
    np.add.at(sums, space.phrase_labels, space.phrase_embeddings)
    return unit_rows(sums)
