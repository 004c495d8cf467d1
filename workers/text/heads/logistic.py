"""Logistic regression that is pulled towards given weights instead of towards zero."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from workers.text.heads.mixture import LinearScores, softmax
from workers.text.heads.whitening import Matrix

MAX_STEPS = 100
"""Steps of L-BFGS; the problem is convex and small."""

BIAS_PENALTY = 2.0
"""How strongly biases are held, per squared unit."""


def fit_towards(
    features: Matrix,
    labels: NDArray[np.int64],
    prior: LinearScores,
    penalty: float,
    weights: NDArray[np.float64] | None = None,
) -> LinearScores:
    """Minimise the cross-entropy plus penalty/2 · ‖W − W₀‖², the mode of a Bayesian linear head.

    With no example it is the prior; with many the examples decide.

    Args:
        features: shape (n, d).
        labels: shape (n,), in [0, L).
        prior: the weights W₀ and biases that it is pulled towards.
        penalty: > 0; higher trusts the prior more.
        weights: shape (n,), how often each example counts; once where left out.

    Returns:
        The fitted scores.
    """
    if not len(features):
        return prior
    count, width = prior.weights.shape
    times = np.ones(len(features)) if weights is None else weights
    truth = np.eye(count)[labels]
    base = prior.score(features)

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        change, shift = flat[: count * width].reshape(count, width), flat[count * width :]
        scores = base + features @ change.T + shift
        top = scores.max(axis=1)
        logsum = top + np.log(np.exp(scores - top[:, None]).sum(axis=1))
        value = float((times * (logsum - (scores * truth).sum(axis=1))).sum())
        value += 0.5 * penalty * float((change**2).sum()) + 0.5 * BIAS_PENALTY * float((shift**2).sum())
        slope = (softmax(scores) - truth) * times[:, None]
        return value, np.concatenate(
            [(slope.T @ features + penalty * change).ravel(), slope.sum(axis=0) + BIAS_PENALTY * shift]
        )

    found = minimize(
        loss, np.zeros(count * width + count), jac=True, method="L-BFGS-B", options={"maxiter": MAX_STEPS}
    ).x
    return LinearScores(
        prior.weights + found[: count * width].reshape(count, width), prior.bias + found[count * width :]
    )
