"""How good labels are."""

import numpy as np
from numpy.typing import NDArray

Probabilities = NDArray[np.float32]
"""float32, shape (m, L)."""

Labels = NDArray[np.int64]
"""int64, shape (m,), in [0, L)."""


def accuracy(found: Labels, truth: Labels) -> float:
    """Compute the share of posts with the right label, in [0, 1]."""
    return float((found == truth).mean())


def confusion(found: Labels, truth: Labels, count: int) -> NDArray[np.int64]:
    """Count posts by true label (rows) and label given (columns); int64, shape (L, L)."""
    return np.bincount(truth * count + found, minlength=count * count).reshape(count, count)


def macro_f1(found: Labels, truth: Labels, count: int) -> float:
    """Average F1 over the labels that occur, each counting alike, in [0, 1]."""
    table = confusion(found, truth, count)
    both = table.sum(axis=0) + table.sum(axis=1)
    there = both > 0
    return float((2.0 * np.diag(table)[there] / both[there]).mean())


def coverage_at_precision(probabilities: Probabilities, truth: Labels, precision: float) -> float:
    """Compute the share of posts, the surest first, that can be labelled at a precision, in [0, 1]."""
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    right = (probabilities.argmax(axis=1) == truth)[order]
    reached = np.flatnonzero(np.cumsum(right) / np.arange(1, len(right) + 1) >= precision)
    return float((reached[-1] + 1) / len(right)) if len(reached) else 0.0


def average_precision(scores: NDArray[np.float32], holds: NDArray[np.bool_]) -> float:
    """Compute the mean, over posts that hold, of the precision at each one's rank, in [0, 1]."""
    ranked = holds[np.argsort(-scores, kind="stable")]
    if not ranked.any():
        return 0.0
    places = np.flatnonzero(ranked) + 1
    return float((np.arange(1, len(places) + 1) / places).mean())
