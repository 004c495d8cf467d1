"""The product's own head: label phrases, examples and an unlabelled sample in one classifier."""

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.text.heads.adaptation import Adaptation, Stream, adapt
from workers.text.heads.base import Embeddings, Examples, LabelSpace
from workers.text.heads.calibration import fit_temperature, log_losses, match_confidence
from workers.text.heads.few_shot import blend_prototypes, fit_linear
from workers.text.heads.independent import IndependentHead
from workers.text.heads.mixture import LinearScores, softmax
from workers.text.heads.neighbours import FLOOR, MOST_REFERENCES, NeighbourVote
from workers.text.heads.phrases import SHARPNESS, framed_prototypes, of_labels
from workers.text.heads.whitening import Matrix
from workers.text.heads.widening import Widening

MOST_UNLABELLED: Final = 4_000
"""Unlabelled posts used; of more, evenly spaced ones."""

FEWEST_UNLABELLED, FEWEST_EXAMPLES = 50, 200
"""Posts, or else examples, from which on there is a stream to adapt to; fewer only mislead."""

LEAST_SHARE: Final = 0.2
"""Of an even share of the examples, that each label has for them to stand for a stream."""

FEWEST_TO_VALIDATE: Final = 12
"""Examples from which on cross-validation says anything about the temperature."""

FEWEST_TO_CHOOSE: Final = 100
"""Examples from which on it says anything about the adaptation."""

FOLDS: Final = 4
"""Of cross-validation."""

SURE_GAIN: Final = 2.0
"""Standard errors by which less of the adapted scores must be better: a few examples say little about it."""

MOST_LINEAR: Final = 0.5
"""Weight of the linear head beside the adapted scores, with many examples: they err in different places."""

HALF_LINEAR: Final = 32.0
"""Examples with which it has half of that weight; with none it knows nothing that the other does not."""


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
    """All that scoring needs; rows are those of `Widening`.

    Attributes:
        linear: the linear head.
        mixture: of the stream; None where nothing was adapted.
        adaptation: that it comes from, on whitened rows; None where nothing was adapted.
        vote: the neighbours' vote; None where there is none.
        blend: weight of the adapted scores, in [0, 1]; the rest is the linear head's.
        temperature: factor on the scores.
    """

    linear: LinearScores
    mixture: LinearScores | None = None
    adaptation: Adaptation | None = None
    vote: NeighbourVote | None = None
    blend: float = 0.0
    temperature: float = 1.0

    def adapted(self, embeddings: Embeddings) -> Matrix:
        """Score by the mixture and the neighbours; log-probabilities up to a shift in each row."""
        if self.mixture is None:
            return log_softmax(self.linear.score(embeddings.astype(np.float64)))
        scores = log_softmax(self.mixture.score(embeddings.astype(np.float64)))
        return scores if self.vote is None else scores + self.vote.score(embeddings)

    def unadapted(self, rows: Embeddings) -> Matrix:
        """Score by the linear head, and by how often the stream has each label, which it was not told."""
        scores = log_softmax(self.linear.score(rows.astype(np.float64)))
        if self.adaptation is None or not self.adaptation.trusted:
            return scores
        shares = self.adaptation.posteriors.mean(axis=0) + FLOOR / len(self.linear.bias)
        return np.asarray(scores + np.log(shares), dtype=np.float64)

    def score(self, embeddings: Embeddings) -> Matrix:
        """Score posts, shape (m, d); float64, shape (m, L)."""
        scores = np.zeros((len(embeddings), len(self.linear.bias)))
        if self.blend > 0.0:
            scores += self.blend * self.adapted(embeddings)
        if self.blend < 1.0:
            scores += (1.0 - self.blend) * self.unadapted(embeddings)
        return self.temperature * scores

    def matched(self, stream: Stream) -> "Fitted":
        """Set the temperature at which the stream's posts are labelled as surely as they are likely right."""
        if self.adaptation is None:
            return self
        scores = linear = self.unadapted(stream.rows)
        if self.blend > 0.0:
            scores = log_softmax(self.adaptation.scores.score(stream.features))
            if self.vote is not None:
                vote = np.einsum("mk,mkl->ml", stream.weights, self.adaptation.posteriors[stream.places])
                scores = scores + np.log(vote + FLOOR)
            scores = self.blend * scores + (1.0 - self.blend) * linear
        return replace(self, temperature=match_confidence(scores, self.adaptation.accuracy))


def log_softmax(scores: Matrix) -> Matrix:
    """Subtract the logarithm of each row's sum of powers."""
    top = scores.max(axis=1, keepdims=True)
    return np.asarray(
        scores - top - np.log(np.exp(scores - top).sum(axis=1, keepdims=True)), dtype=np.float64
    )


class ProductHead:
    """Zero-shot, few-shot and adaptation to the stream in one head.

    Of wide rows it uses both parts, weighed against each other on the stream and the examples (`widening`).

    1. A logistic head whose weights are pulled towards the prototypes of the label phrases: zero-shot without
       examples, a linear head with many. Where there is no stream, shrunken prototypes share in it.
    2. Its posteriors start a mixture on the stream, anchored in them, and loosened only where clusters are
       labels (`adaptation`); neighbours vote on top (`neighbours`).
    3. Both are blended, 1 with the more weight the more examples there are, and with the label shares that 2
       found. 2 is refused where it makes the labels less smooth, or where cross-validation on many examples
       says so; with a dozen, that sets the temperature, which otherwise comes from the labels' smoothness.

    Args:
        neighbours: False leaves out the neighbours' vote: a purely linear head, for the static lane.
    """

    name = "product"

    def __init__(self, *, neighbours: bool = True) -> None:
        self._neighbours = neighbours
        self._fitted = Fitted(LinearScores(np.zeros((0, 0)), np.zeros(0)))
        self._widening = Widening(0, np.zeros(0, np.float32), 0.0)
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
        self.adaptation = None
        self.validation = None
        self._filter = None
        if count == 1:
            self._filter = IndependentHead()
            self._filter.fit(space, examples, unlabelled)
            return
        rows = np.concatenate([unlabelled, known.embeddings])
        widening = self._widening = Widening.fit(rows, space.phrase_embeddings.shape[1])
        known = Examples(widening.apply(known.embeddings), known.labels)
        prior = LinearScores(SHARPNESS * widening.directions(framed_prototypes(space)), np.zeros(count))
        stream = None
        if len(unlabelled) >= FEWEST_UNLABELLED or stands_for_stream(known.labels, count):
            stream = Stream.prepare(widening.apply(unlabelled), known.embeddings, widening.width)
        fitted = self._fit_parts(prior, known, np.ones(len(known.labels), bool), stream)
        self.adaptation = fitted.adaptation
        self._fitted = self._weighed(fitted, prior, known, stream)

    def predict_proba(self, embeddings: Embeddings) -> NDArray[np.float32]:
        """Probabilities, float32, shape (m, L); rows sum to 1, but for a lone label: it holds or not."""
        if self._filter is not None:
            return self._filter.predict_proba(embeddings)
        return softmax(self._fitted.score(self._widening.apply(embeddings))).astype(np.float32)

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
            vote = NeighbourVote(stream.near[chosen], adaptation.posteriors[chosen])
        mixture = LinearScores(*stream.whitening.undone(adaptation.scores.weights, adaptation.scores.bias))
        return Fitted(linear, mixture, adaptation, vote, 1.0)

    def _weighed(self, fitted: Fitted, prior: LinearScores, known: Examples, stream: Stream | None) -> Fitted:
        """Choose the blend and the temperature; cross-validated where there are examples enough."""
        adaptation = fitted.adaptation
        if stream is None or adaptation is None:
            return fitted
        seen = len(known.labels)
        blend = 1.0 - MOST_LINEAR * seen / (seen + HALF_LINEAR) if adaptation.trusted else 0.0
        fewest = np.bincount(known.labels, minlength=len(prior.bias))
        if len(known.labels) < FEWEST_TO_VALIDATE or (fewest > 1).sum() < 2:
            return replace(fitted, blend=blend).matched(stream)
        blends = (blend, blend / 2.0, 0.0)
        scores = np.empty((len(blends), len(known.labels), len(prior.bias)))
        for fold in split_folds(known.labels):
            without = self._fit_parts(prior, known, ~fold, stream, adaptation)
            for i, weight in enumerate(blends):
                scores[i, fold] = replace(without, blend=weight).score(known.embeddings[fold])
        # examples are drawn label by label, the stream isn't: count each as often as the stream has its label
        shares = adaptation.posteriors.mean(axis=0) / np.maximum(fewest / len(known.labels), 1e-9)
        weights = np.clip(shares, 0.1, 10.0)[known.labels]
        chosen = choose_blend(scores, known.labels, weights)
        fitted = replace(fitted, blend=blends[chosen]).matched(stream)
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


def choose_blend(scores: Matrix, labels: NDArray[np.int64], weights: NDArray[np.float64]) -> int:
    """Choose a blend by log-loss; the first, unless a later one is better by SURE_GAIN standard errors.

    Args:
        scores: of examples, each scored without itself, shape (blends, n, L).
        labels: shape (n,).
        weights: how often each example counts, shape (n,).
    """
    if len(labels) < FEWEST_TO_CHOOSE:
        return 0
    shares = weights / weights.sum()
    losses = [log_losses(fit_temperature(each, labels, weights=weights) * each, labels) for each in scores]
    best = 0
    for later in range(1, len(losses)):
        gains = losses[best] - losses[later]
        mean = float(shares @ gains)
        if mean > SURE_GAIN * float(np.sqrt(shares**2 @ (gains - mean) ** 2)):
            best = later
    return best
