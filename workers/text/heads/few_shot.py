"""Linear heads from label phrases and examples: a pulled logistic head, and shrunken prototypes."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.text.heads.base import Embeddings
from workers.text.heads.calibration import log_losses
from workers.text.heads.logistic import fit_towards
from workers.text.heads.mixture import LinearScores
from workers.text.heads.phrases import SHARPNESS, unit_rows

PENALTY: Final = 0.3
"""How strongly the linear head is held to what the phrases say (`logistic`)."""

PROTOTYPE_SHARE: Final = 0.4
"""Of shrunken prototypes beside the logistic head: together they beat either from 2 to 64 examples a label.

Only without a stream: as the start of a mixture the logistic head alone is better, by 2 on crisis kinds."""

PHRASE_COUNT: Final = 4.0
"""Examples that a label's phrases count for in its shrunken prototype."""

UNSEEN_TAKEN: Final = 0.35
"""Share of that attraction taken off where a stream but no example is known.

Some of it is right, as the stream is more about some labels than others: 0.25 to 0.5 beat 0 and 1."""

KEPT_PULLS: Final = (1.0, 0.5, 0.0)
"""Shares of the labels' attraction for everything that are compared; 1 is plain zero-shot, 0 is centred."""

SURE_PULL: Final = 2.0
"""Nats by which examples must be likelier before less than all of the attraction is kept."""


def fit_linear(
    prior: LinearScores,
    rows: Embeddings,
    labels: NDArray[np.int64],
    centre: NDArray[np.float64] | None,
) -> LinearScores:
    """Fit the linear head on embeddings, pulled towards what the phrases say.

    Some labels attract everything, which a bias of −(weights · centre) undoes; but where labels are given
    unevenly that attraction can be right. The examples say how much of it to keep. Labels count alike,
    however many examples each has, and a label without an example stays as it was.
    """
    counts = np.bincount(labels, minlength=len(prior.bias))
    seen = np.flatnonzero(counts)
    if centre is None:
        return prior
    if not len(seen):
        pull = prior.weights @ centre
        return LinearScores(prior.weights, prior.bias - UNSEEN_TAKEN * (pull - pull.mean()))
    if len(seen) < 2:
        return prior
    weights = np.clip(len(labels) / len(seen) / np.maximum(counts, 1), 0.2, 5.0)[labels]
    places = np.searchsorted(seen, labels)
    centred = (rows - centre).astype(np.float64)
    pull = prior.weights @ centre
    pull -= pull.mean()
    starts = [LinearScores(prior.weights[seen], (prior.bias + kept * pull)[seen]) for kept in KEPT_PULLS]
    losses = [float(weights @ log_losses(start.score(centred), places)) for start in starts]
    best = int(np.argmin(losses)) if losses[0] - min(losses) > SURE_PULL else 0
    found = fit_towards(centred, places, starts[best], PENALTY, weights)
    all_weights = prior.weights.copy()
    all_weights[seen] = found.weights
    bias = prior.bias + KEPT_PULLS[best] * pull
    bias[seen] = found.bias
    return LinearScores(all_weights, bias - all_weights @ centre)


def blend_prototypes(
    linear: LinearScores,
    prior: LinearScores,
    rows: Embeddings,
    labels: NDArray[np.int64],
    centre: NDArray[np.float64],
) -> LinearScores:
    """Mix shrunken prototypes into a linear head: the means of a label's phrases and its examples.

    Where few examples leave the logistic head near the phrases, the prototypes are ahead on topics by two
    points; where labels aren't clusters they are behind; the mix is ahead of both. At the centre nothing
    changes, so a label with many examples, whose mean lies near everything, attracts no more than before.

    Args:
        linear: the logistic head.
        prior: SHARPNESS times the phrases' prototypes.
        rows: the examples, shape (n, d).
        labels: shape (n,).
        centre: shape (d,).
    """
    sums = PHRASE_COUNT * prior.weights / SHARPNESS
    np.add.at(sums, labels, rows.astype(np.float64))
    weights = (1.0 - PROTOTYPE_SHARE) * linear.weights + PROTOTYPE_SHARE * SHARPNESS * unit_rows(sums)
    return LinearScores(weights, linear.bias + (linear.weights - weights) @ centre)
