"""Figures of a search whose right answers are known."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Hits = NDArray[np.bool_]
"""bool, shape (queries, found), best first: whether what was found is of the query's kind."""


def search_score(hits: Hits, k: int = 15) -> float:
    """Weighted share of right ones among the first k: the first counts k times, the k-th once.

    Args:
        hits: of at least k found, the query left out; missing ones count as wrong.
        k: how far one looks.

    Returns:
        In [0, 100]: 100 * sum over i of (k + 1 - i) * hit_i / (k * (k + 1) / 2), averaged over queries.
    """
    weights = np.arange(k, 0, -1)
    shown = hits[:, :k]
    return float(100.0 * (shown * weights[: shown.shape[1]]).sum(axis=1).mean() / weights.sum())


def attainable(labels: Sequence[str], k: int = 15) -> float:
    """The highest search score there can be: an image of a class of n has n - 1 right answers."""
    weights = np.arange(k, 0, -1)
    sizes = Counter(labels)
    return float(100.0 * np.mean([weights[: sizes[label] - 1].sum() for label in labels]) / weights.sum())


def precision_at(hits: Hits, k: int) -> float:
    """Share of right ones among the first k, in [0, 1]."""
    return float(hits[:, :k].mean())
