"""The product's own head: label phrases, examples and an unlabelled sample in one classifier."""

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.text.heads.adaptation import STABLE, Adaptation, Stream, adapt
from workers.text.heads.base import Embeddings, Examples, LabelSpace
from workers.text.heads.calibration import fit_temperature, log_losses, match_confidence
from workers.text.heads.few_shot import blend_prototypes, fit_linear
from workers.text.heads.independent import IndependentHead
from workers.text.heads.mixture import LinearScores, softmax
from workers.text.heads.neighbours import FLOOR, MOST_REFERENCES, NeighbourVote, purity
from workers.text.heads.phrases import SHARPNESS, framed_prototypes, of_labels
from workers.text.heads.whitening import Matrix, Whitening

MOST_UNLABELLED: Final = 4_000
"""Unlabelled posts used; of more, evenly spaced ones."""

FEWEST_UNLABELLED, FEWEST_EXAMPLES = 50, 200
"""Posts, or else examples, from which on there is a stream to adapt to; fewer only mislead."""

LEAST_SHARE: Final = 0.2
"""Of an even share of the examples, that each label has for them to stand for a stream."""

UNSURE: Final = 2.0
"""Confidence lost for each post whose label does not hold still, beyond STABLE."""

FEWEST_TO_VALIDATE: Final = 12
"""Examples from which on cross-validation says anything about the temperature."""

FEWEST_TO_BLEND: Final = 100
"""Examples from which on it says anything about the blend."""

FOLDS: Final = 4
"""Of cross-validation."""

SURE_GAIN: Final = 2.0
"""Standard errors by which a blend must beat the adapted scores: a few examples say little about it."""

BLENDS: Final = (1.0, 0.5, 0.0)
"""Weights of the adapted scores against the linear head's that are compared."""


class Validation(NamedTuple):
    """Examples, each labelled by the head fitted without it.

    Attributes:
        probabilities: float32, shape (n, L).
        labels: the true ones, int64, shape (n,).
    """

    probabilities: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Fitted:
    """All that scoring needs.

    Attributes:
        linear: the linear head, on embeddings.
        whitening: of the stream; None where nothing was adapted.
        adaptation: to the stream, on whitened embeddings; None where nothing was adapted.
        vote: the neighbours' vote; None where there is none.
        blend: weight of the adapted scores, in [0, 1]; the rest is the linear head's.
        temperature: factor on the scores.
    """

    linear: LinearScores
    whitening: Whitening | None = None
    adaptation: Adaptation | None = None
    vote: NeighbourVote | None = None
    blend: float = 0.0
    temperature: float = 1.0

    def adapted(self, embeddings: Embeddings) -> Matrix:
        """Score by the mixture and the neighbours; log-probabilities up to a shift in each row."""
        if self.whitening is None or self.adaptation is None:
            return log_softmax(self.linear.score(embeddings.astype(np.float64)))
        scores = log_softmax(self.adaptation.scores.score(self.whitening.apply(embeddings)))
        return scores if self.vote is None else scores + self.vote.score(embeddings)

    def score(self, embeddings: Embeddings) -> Matrix:
        """Score posts, shape (m, d); float64, shape (m, L)."""
        scores = np.zeros((len(embeddings), len(self.linear.bias)))
        if self.blend > 0.0:
            scores += self.blend * self.adapted(embeddings)
        if self.blend < 1.0:
            scores += (1.0 - self.blend) * log_softmax(self.linear.score(embeddings.astype(np.float64)))
        return self.temperature * scores

    def matched(self, stream: Stream) -> "Fitted":
        """Set the temperature at which the stream's posts are labelled as surely as close posts agree.

        Where labels don't hold still as the anchor loosens, close posts agree on what may not be the label.
        """
        linear = log_softmax(self.linear.score(stream.rows.astype(np.float64)))
        scores = linear
        if self.adaptation is not None and self.blend > 0.0:
            scores = log_softmax(self.adaptation.scores.score(stream.features))
            if self.vote is not None:
                vote = np.einsum("mk,mkl->ml", stream.weights, self.adaptation.posteriors[stream.places])
                scores = scores + np.log(vote + FLOOR)
            scores = self.blend * scores + (1.0 - self.blend) * linear
        agreement = purity(scores.argmax(axis=1), stream.closest)
        if self.adaptation is not None:
            agreement *= 1.0 - UNSURE * max(0.0, self.adaptation.moved - STABLE)
        return replace(self, temperature=match_confidence(scores, agreement))


def log_softmax(scores: Matrix) -> Matrix:
    """Subtract the logarithm of each row's sum of powers."""
    top = scores.max(axis=1, keepdims=True)
    return np.asarray(
        scores - top - np.log(np.exp(scores - top).sum(axis=1, keepdims=True)), dtype=np.float64
    )


class ProductHead:
    """Zero-shot, few-shot and adaptation to the stream in one head.

    1. A logistic head whose weights are pulled towards the prototypes of the label phrases: zero-shot without
       examples, a linear head with many. Where there is no stream, shrunken prototypes share in it.
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
        self._filter: IndependentHead | None = None
        self.adaptation: Adaptation | None = None
        """How the last fit adapted to the stream; None where it did not."""

        self.validation: Validation | None = None
        """Of the last fit, where there were examples enough."""

    def fit(self, space: LabelSpace, examples: Examples, unlabelled: Embeddings) -> None:
        """Fit to labels, examples (n may be 0) and an unlabelled sample of the stream (may be empty)."""
        count = len(space.names)
        known = of_labels(examples)
        if len(unlabelled) > MOST_UNLABELLED:
            unlabelled = unlabelled[np.linspace(0, len(unlabelled) - 1, MOST_UNLABELLED).astype(np.int64)]
        prior = LinearScores(SHARPNESS * framed_prototypes(space), np.zeros(count))
        self.adaptation = None
        self.validation = None
        self._filter = None
        if count == 1:
            self._filter = IndependentHead()
            self._filter.fit(space, examples, unlabelled)
            return
        stream = None
        if len(unlabelled) >= FEWEST_UNLABELLED or stands_for_stream(known.labels, count):
            stream = Stream.prepare(unlabelled, known.embeddings)
        fitted = self._fit_parts(prior, known, np.ones(len(known.labels), bool), stream)
        self.adaptation = fitted.adaptation
        self._fitted = self._weighed(fitted, prior, known, stream)

    def predict_proba(self, embeddings: Embeddings) -> NDArray[np.float32]:
        """Probabilities, float32, shape (m, L); rows sum to 1, but for a lone label: it holds or not."""
        if self._filter is not None:
            return self._filter.predict_proba(embeddings)
        return softmax(self._fitted.score(embeddings)).astype(np.float32)

    def _fit_parts(
        self,
        prior: LinearScores,
        known: Examples,
        used: NDArray[np.bool_],
        stream: Stream | None,
        like: Adaptation | None = None,
    ) -> Fitted:
        """Fit to the examples that are `used`; the others are unlabelled posts."""
        rows, labels = known.embeddings[used], known.labels[used]
        centre = rows.mean(axis=0) if stream is None and len(rows) else None
        if stream is not None:
            centre = stream.whitening.mean
        linear = fit_linear(prior, rows, labels, centre)
        if stream is None and centre is not None:
            linear = blend_prototypes(linear, prior, rows, labels, centre)
        if stream is None:
            return Fitted(linear)
        start = softmax(linear.score(stream.rows.astype(np.float64)))
        clamped = np.zeros(len(start), bool)
        clamped[len(start) - stream.examples :] = used
        start[clamped] = np.eye(len(prior.bias))[labels]
        adaptation = adapt(stream, start, clamped, like)
        vote = None
        if self._neighbours:
            chosen = np.unique(np.linspace(0, len(start) - 1, MOST_REFERENCES).astype(np.int64))
            vote = NeighbourVote(stream.rows[chosen], adaptation.posteriors[chosen])
        return Fitted(linear, stream.whitening, adaptation, vote, 1.0)

    def _weighed(self, fitted: Fitted, prior: LinearScores, known: Examples, stream: Stream | None) -> Fitted:
        """Choose the blend and the temperature; cross-validated where there are examples enough."""
        adaptation = fitted.adaptation
        if stream is None or adaptation is None:
            return fitted
        blend = 1.0 if adaptation.trusted else 0.0
        fewest = np.bincount(known.labels, minlength=len(prior.bias))
        if len(known.labels) < FEWEST_TO_VALIDATE or (fewest > 1).sum() < 2:
            return replace(fitted, blend=blend).matched(stream)
        scores = np.empty((len(BLENDS), len(known.labels), len(prior.bias)))
        for fold in split_folds(known.labels):
            without = self._fit_parts(prior, known, ~fold, stream, adaptation)
            for i, weight in enumerate(BLENDS):
                scores[i, fold] = replace(without, blend=weight).score(known.embeddings[fold])
        chosen = choose_blend(scores, known.labels)
        fitted = replace(fitted, blend=BLENDS[chosen]).matched(stream)
        # examples are drawn label by label, the stream isn't: count each as often as the stream has its label
        shares = adaptation.posteriors.mean(axis=0) / np.maximum(fewest / len(known.labels), 1e-9)
        weights = np.clip(shares, 0.1, 10.0)[known.labels]
        factor = fit_temperature(scores[chosen], known.labels, fitted.temperature, weights)
        sure = softmax(factor * scores[chosen])
        self.validation = Validation(sure.astype(np.float32), known.labels)
        return replace(fitted, temperature=factor)


def stands_for_stream(labels: NDArray[np.int64], count: int) -> bool:
    """Whether examples can stand for a stream that is not there: many, and of every label.

    Where a label has none or nearly none, a mixture fitted to them would give its posts to the others.

    Args:
        labels: of the examples, shape (n,).
        count: how many labels there are.
    """
    fewest = np.bincount(labels, minlength=count).min()
    return bool(len(labels) >= FEWEST_EXAMPLES and fewest >= LEAST_SHARE * len(labels) / count)


def split_folds(labels: NDArray[np.int64]) -> list[NDArray[np.bool_]]:
    """Split examples into folds with the labels evenly among them.

    Returns:
        A mask of held-out examples for each fold, shape (n,).
    """
    order = np.argsort(labels, kind="stable")
    folds = np.empty(len(labels), np.int64)
    folds[order] = np.arange(len(labels)) % FOLDS
    return [folds == fold for fold in range(FOLDS)]


def choose_blend(scores: Matrix, labels: NDArray[np.int64]) -> int:
    """Choose a blend by log-loss; the first, unless another is better by SURE_GAIN standard errors.

    Args:
        scores: of examples, each scored without itself, shape (blends, n, L).
        labels: shape (n,).
    """
    if len(labels) < FEWEST_TO_BLEND:
        return 0
    losses = [log_losses(fit_temperature(each, labels) * each, labels) for each in scores]
    best = int(np.argmin([loss.mean() for loss in losses]))
    gain = losses[0] - losses[best]
    return best if gain.mean() > SURE_GAIN * gain.std() / np.sqrt(len(labels)) else 0
