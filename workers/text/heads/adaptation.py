"""Adaptation to the unlabelled stream, as far as it can be trusted.

The mixture of `mixture` gains ten points on news and loses as many where the clusters of the stream are not
the labels: emotions in tweets, kinds of message in a mix of disasters. Nothing says so but the stream
itself, in two ways that held on every development set, with every wording of the labels:

- Labels kept. Where clusters are labels, a mixture that is nearly let go leaves most posts the label they
  started with (80 to 95 %); where they are not, it relabels up to half of them.
- Purity. Right labels lie smooth: neighbouring posts share them.

The mean of the two, called clarity here, is high where a loose anchor gains (news, BBC, disasters), and low
where a tight one does as well or better (emotions, kinds of message, single events, streams that are mostly
about something else). It is also the best measure found of how many labels are right. An adaptation that
makes labels much less smooth than they were is refused.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.text.heads.base import Embeddings
from workers.text.heads.mixture import LinearScores, fit_mixture, softmax
from workers.text.heads.neighbours import NEIGHBOURS, cut, nearest, purity
from workers.text.heads.whitening import Matrix, Whitening

SHRINKAGE: Final = 0.3
"""Of the covariance; 0.1 to 0.5 give the same within a point."""

LOOSE, MIDDLE, TIGHT = 0.3, 0.5, 0.7
"""Anchors: the share of the starting posteriors that each step of the mixture keeps."""

PROBE: Final = 0.2
"""The anchor of a mixture nearly let go: which labels still hold?"""

CLEAR: Final = 0.775
"""Clarity from which LOOSE is taken; below, TIGHT."""

STEEP, OFFSET = 1.45, 0.4
"""The line from clarity to the share of labels that are right: 0.9 at a clarity of 0.9, 0.47 at 0.6.

Fitted without an example to 64 label sets and streams of seven collections; where one collection is left out,
it is predicted to 8 points on average."""

MOST_LOST: Final = 0.2
"""Purity that may be lost before the adaptation is refused; up to 0.17 it was mostly better all the same."""


@dataclass(frozen=True)
class Stream:
    """A sample of the stream, made ready once for any number of fits.

    Attributes:
        rows: shape (n, d), unlabelled posts, then examples.
        near: shape (n, w), what of the rows is compared to find neighbours, unit rows.
        examples: how many of the last rows are examples.
        whitening: fitted to the rows.
        features: float64, shape (n, d), the rows whitened.
        places: int64, shape (n, k), each row's nearest other rows.
        weights: float32, shape (n, k), how much each counts.
    """

    rows: Embeddings
    near: Embeddings
    examples: int
    whitening: Whitening
    features: Matrix
    places: NDArray[np.int64]
    weights: NDArray[np.float32]

    @classmethod
    def prepare(cls, unlabelled: Embeddings, examples: Embeddings, width: int) -> "Stream":
        """Whiten the rows, and find their neighbours by the first `width` numbers."""
        rows = np.ascontiguousarray(np.concatenate([unlabelled, examples]), dtype=np.float32)
        whitening = Whitening.fit(rows, SHRINKAGE)
        near = cut(rows, width)
        places, weights = nearest(near, near, NEIGHBOURS, same=True)
        return cls(rows, near, len(examples), whitening, whitening.apply(rows), places, weights)


@dataclass(frozen=True)
class Adaptation:
    """What came of it.

    Attributes:
        scores: the mixture's discriminants, on whitened features.
        posteriors: float64, shape (n, L), of the stream's rows; one-hot where clamped.
        anchor: the anchor that was taken.
        clarity: in [0, 1], the mean of two shares: of posts that keep the label they started with at PROBE,
            and of neighbours that share a label at MIDDLE.
        purity: of the labels that the adaptation gives.
        start_purity: of the labels that it started from.
    """

    scores: LinearScores
    posteriors: Matrix
    anchor: float
    clarity: float
    purity: float
    start_purity: float

    @property
    def trusted(self) -> bool:
        """Whether labels lie not much less smoothly than before."""
        return self.purity >= self.start_purity - MOST_LOST

    @property
    def accuracy(self) -> float:
        """The share of labels expected to be right, in [0, 1]."""
        return float(np.clip(STEEP * self.clarity - OFFSET, 0.0, 1.0))


def adapt(
    stream: Stream, start: Matrix, clamped: NDArray[np.bool_], like: Adaptation | None = None
) -> Adaptation:
    """Fit the mixture, loosely anchored where clusters are labels, else tightly.

    Args:
        stream: the sample.
        start: posteriors of its rows to start from, shape (n, L).
        clamped: shape (n,), rows that keep `start`: examples, one-hot.
        like: an adaptation to the same stream, whose anchor and measures are taken over: cross-validation
            fits five times faster.
    """

    def fit(anchor: float) -> tuple[LinearScores, Matrix]:
        scores = fit_mixture(
            stream.features, start, shrinkage=stream.whitening.shrinkage, anchor=anchor, clamped=clamped
        )
        return scores, softmax(scores.score(stream.features))

    if like is not None:
        scores, posteriors = fit(like.anchor)
        return replace(like, scores=scores, posteriors=np.where(clamped[:, None], start, posteriors))
    free, first = ~clamped, start.argmax(axis=1)
    middle, probe = (fit(anchor)[1].argmax(axis=1) for anchor in (MIDDLE, PROBE))
    kept = float((probe == first)[free].mean()) if free.any() else 1.0
    clarity = 0.5 * (kept + purity(middle, stream.places))
    anchor = LOOSE if clarity >= CLEAR else TIGHT
    scores, posteriors = fit(anchor)
    pure = purity(posteriors.argmax(axis=1), stream.places)
    start_pure = purity(first, stream.places)
    posteriors = np.where(clamped[:, None], start, posteriors)
    return Adaptation(scores, posteriors, anchor, clarity, pure, start_pure)
