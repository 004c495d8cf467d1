"""Honest probabilities: one temperature, from examples or from how smooth the labels lie."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.text.heads.mixture import softmax
from workers.text.heads.whitening import Matrix

TEMPERATURES: Final = np.geomspace(0.05, 4.0, 45)
"""Factors on scores that are tried; below 1 softens."""


HOLD: Final = 2.0
"""How strongly a temperature from examples is held to the one expected: 1 / 0.7² in log units, as nats."""


def log_losses(scores: Matrix, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute −log of the probability of each true label, in nats; float64, shape (n,)."""
    top = scores.max(axis=1)
    total = top + np.log(np.exp(scores - top[:, None]).sum(axis=1))
    return np.asarray(total - scores[np.arange(len(labels)), labels], dtype=np.float64)


def fit_temperature(
    scores: Matrix,
    labels: NDArray[np.int64],
    expected: float | None = None,
    weights: NDArray[np.float64] | None = None,
) -> float:
    """Choose the factor on scores with the least log-loss (Guo et al., 2017).

    Args:
        scores: of examples, each scored by a head fitted without it, shape (n, L).
        labels: shape (n,).
        expected: a factor to hold on to while examples are few; none where left out.
        weights: how often each example counts, shape (n,), scaled to a mean of 1; once where left out.
    """
    times = np.ones(len(labels)) if weights is None else weights / weights.mean()
    losses = np.array([times @ log_losses(factor * scores, labels) for factor in TEMPERATURES])
    if expected is not None:
        losses += 0.5 * HOLD * np.log(TEMPERATURES / expected) ** 2
    return float(TEMPERATURES[int(np.argmin(losses))])


def match_confidence(scores: Matrix, accuracy: float) -> float:
    """Choose the factor on scores at which the mean confidence is a given accuracy.

    Args:
        scores: of posts, shape (m, L).
        accuracy: in [0, 1].
    """
    sure = np.array([float(softmax(t * scores).max(axis=1).mean()) for t in TEMPERATURES])
    return float(TEMPERATURES[int(np.argmin(np.abs(sure - accuracy)))])


def expected_calibration_error(
    probabilities: NDArray[np.float32] | Matrix, labels: NDArray[np.int64], bins: int = 15
) -> float:
    """Compute the gap between confidence and accuracy, averaged over equal-width bins of confidence.

    Args:
        probabilities: shape (m, L), m ≥ 1.
        labels: the true ones, shape (m,).
        bins: how many.

    Returns:
        In [0, 1]; 0 is perfect (Naeini et al., 2015).
    """
    sure = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    places = np.minimum((sure * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(places, weights=right - sure.astype(np.float64), minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))
