"""What labels say of themselves: prototypes from their phrases."""

import numpy as np
from numpy.typing import NDArray

from workers.text.heads.base import Embeddings, Examples, LabelSpace
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


FILTER_LEVEL = 0.2
"""Cosine to a lone label at which it holds as often as not: unrelated short texts lie around 0.05 ± 0.07."""


def filter_probability(cosines: Matrix) -> NDArray[np.float32]:
    """Turn cosines to a lone label, shape (m, 1), into the probability that it holds; float32, (m, 1)."""
    return np.asarray(1.0 / (1.0 + np.exp(SHARPNESS * (FILTER_LEVEL - cosines))), dtype=np.float32)


def of_labels(examples: Examples) -> Examples:
    """Leave out the examples of none of the labels, which most heads have no use for."""
    known = examples.labels >= 0
    return examples if known.all() else Examples(examples.embeddings[known], examples.labels[known])
