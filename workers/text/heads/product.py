"""The product's own head: label phrases, examples and an unlabelled sample in one classifier."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.text.heads.adaptation import Adaptation, Stream, adapt
from workers.text.heads.base import Embeddings, Examples, LabelSpace
from workers.text.heads.logistic import fit_towards
from workers.text.heads.mixture import LinearScores, softmax
from workers.text.heads.neighbours import MOST_REFERENCES, NeighbourVote
from workers.text.heads.phrases import NAME_WEIGHT, SHARPNESS, filter_probability, of_labels, prototypes
from workers.text.heads.whitening import Matrix, Whitening

PENALTY: Final = 0.3
"""How strongly the linear head is held to what the phrases say (`logistic`)."""

MOST_UNLABELLED: Final = 4_000
"""Unlabelled posts used; of more, evenly spaced ones."""

FEWEST_TO_VALIDATE: Final = 12
"""Examples from which on cross-validation says anything."""

FOLDS: Final = 4
"""Of cross-validation."""

BLENDS: Final = (1.0, 0.5, 0.0)
"""Weights of the adapted scores against the linear head's that are compared."""


@dataclass(frozen=True)
class Fitted:
    """All that scoring needs.

    Attributes:
        linear: the linear head, on embeddings.
        whitening: of the stream; None where nothing was adapted.
        mixture: the adapted discriminants, on whitened embeddings.
        vote: the neighbours' vote; None where there is none.
        blend: weight of the adapted scores, in [0, 1]; the rest is the linear head's.
        temperature: factor on the scores.
    """

    linear: LinearScores
    whitening: Whitening | None = None
    mixture: LinearScores | None = None
    vote: NeighbourVote | None = None
    blend: float = 0.0
    temperature: float = 1.0

    def adapted(self, embeddings: Embeddings) -> Matrix:
        """Score by the mixture and the neighbours; log-probabilities up to a shift in each row."""
        if self.whitening is None or self.mixture is None:
            return log_softmax(self.linear.score(embeddings.astype(np.float64)))
        scores = log_softmax(self.mixture.score(self.whitening.apply(embeddings)))
        return scores if self.vote is None else scores + self.vote.score(embeddings)

    def score(self, embeddings: Embeddings) -> Matrix:
        """Score posts, shape (m, d); float64, shape (m, L)."""
        scores = np.zeros((len(embeddings), len(self.linear.bias)))
        if self.blend > 0.0:
            scores += self.blend * self.adapted(embeddings)
        if self.blend < 1.0:
            scores += (1.0 - self.blend) * log_softmax(self.linear.score(embeddings.astype(np.float64)))
        return self.temperature * scores


def log_softmax(scores: Matrix) -> Matrix:
    """Subtract the logarithm of each row's sum of powers."""
    top = scores.max(axis=1, keepdims=True)
    return np.asarray(
        scores - top - np.log(np.exp(scores - top).sum(axis=1, keepdims=True)), dtype=np.float64
    )


class ProductHead:
    """Zero-shot, few-shot and adaptation to the stream in one head.

    1. A logistic head whose weights are pulled towards the prototypes of the label phrases: zero-shot without
       examples, a linear head with many.
    2. Its posteriors start a mixture on the stream, anchored in them, and loosened only where labels hold
       still (`adaptation`); neighbours vote on top (`neighbours`).
    3. With a dozen examples or more, cross-validation weighs 2 against 1 and sets the temperature; without,
       2 is refused where it makes the labels less smooth, and the temperature comes from their smoothness.

    Args:
        neighbours: False leaves out the neighbours' vote: a purely linear head, for the static lane.
    """

    name = "product"

    def __init__(self, *, neighbours: bool = True) -> None:
        self._neighbours = neighbours
        self._fitted = Fitted(LinearScores(np.zeros((0, 0)), np.zeros(0)))
        self.adaptation: Adaptation | None = None
        """How the last fit adapted to the stream; None where it did not."""

    def fit(self, space: LabelSpace, examples: Examples, unlabelled: Embeddings) -> None:
        """Fit to labels, examples (n may be 0) and an unlabelled sample of the stream (may be empty)."""
        count = len(space.names)
        known = of_labels(examples)
        if len(unlabelled) > MOST_UNLABELLED:
            unlabelled = unlabelled[np.linspace(0, len(unlabelled) - 1, MOST_UNLABELLED).astype(np.int64)]
        prior = LinearScores(SHARPNESS * prototypes(space, NAME_WEIGHT), np.zeros(count))
        self.adaptation = None
        if count == 1:
            self._fitted = Fitted(prior)
            return
        stream = None
        if len(unlabelled) + len(known.labels) > 2 * count:
            stream = Stream.prepare(unlabelled, known.embeddings)
        fitted = self._fit_parts(prior, known, np.ones(len(known.labels), bool), stream)
        blend = 1.0 if self.adaptation is not None and self.adaptation.trusted else 0.0
        self._fitted = replace(fitted, blend=blend)

    def predict_proba(self, embeddings: Embeddings) -> NDArray[np.float32]:
        """Probabilities, float32, shape (m, L); rows sum to 1, but for a lone label: it holds or not."""
        if len(self._fitted.linear.bias) == 1:
            return filter_probability(self._fitted.linear.score(embeddings.astype(np.float64)) / SHARPNESS)
        return softmax(self._fitted.score(embeddings)).astype(np.float32)

    def _fit_parts(
        self, prior: LinearScores, known: Examples, used: NDArray[np.bool_], stream: Stream | None
    ) -> Fitted:
        """Fit to the examples that are `used`; the others are unlabelled posts."""
        rows, labels = known.embeddings[used], known.labels[used]
        centre = rows.mean(axis=0) if stream is None and len(rows) else None
        if stream is not None:
            centre = stream.whitening.mean
        linear = fit_linear(prior, rows, labels, centre)
        if stream is None:
            return Fitted(linear)
        start = softmax(linear.score(stream.rows.astype(np.float64)))
        clamped = np.zeros(len(start), bool)
        clamped[len(start) - stream.examples :] = used
        start[clamped] = np.eye(len(prior.bias))[labels]
        self.adaptation = adapt(stream, start, clamped)
        vote = None
        if self._neighbours:
            chosen = np.unique(np.linspace(0, len(start) - 1, MOST_REFERENCES).astype(np.int64))
            vote = NeighbourVote(stream.rows[chosen], self.adaptation.posteriors[chosen])
        return Fitted(linear, stream.whitening, self.adaptation.scores, vote, 1.0)


def fit_linear(
    prior: LinearScores,
    rows: Embeddings,
    labels: NDArray[np.int64],
    centre: NDArray[np.float64] | None,
) -> LinearScores:
    """Fit the linear head on embeddings, centred so that the bias doesn't have to undo the mean.

    Labels count alike, however many examples each has, and labels without an example stay as they were.
    """
    if not len(rows) or centre is None:
        return prior
    counts = np.bincount(labels, minlength=len(prior.bias))
    seen = np.flatnonzero(counts)
    if len(seen) < 2:
        return prior
    weights = np.clip(len(labels) / len(seen) / np.maximum(counts, 1), 0.2, 5.0)[labels]
    shifted = LinearScores(prior.weights[seen], prior.bias[seen])
    found = fit_towards(
        (rows - centre).astype(np.float64), np.searchsorted(seen, labels), shifted, PENALTY, weights
    )
    all_weights, bias = prior.weights.copy(), prior.bias - prior.weights @ centre
    all_weights[seen] = found.weights
    bias[seen] = found.bias - found.weights @ centre
    return LinearScores(all_weights, bias)
