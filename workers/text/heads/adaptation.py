"""Adaptation to the unlabelled stream, as far as it can be trusted.

The mixture of `mixture` gains ten points on news and loses as many where the clusters of the stream are not
the labels: emotions in tweets, kinds of message in a mix of disasters. Nothing says so but the stream
itself, in two ways that held on every development set, with every wording of the labels:

- Stability. Where clusters are labels, loosening the anchor hardly changes who is given what (4 to 11 % of
  the posts on topics, at gains of 6 to 20 points); where they are not, it moves a fifth and more. So the
  anchor is loosened only as far as the labels hold still.
- Purity. Right labels lie smooth: neighbouring posts share them. An adaptation that makes labels much less
  smooth than they were is refused.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.text.heads.base import Embeddings
from workers.text.heads.mixture import LinearScores, fit_mixture, softmax
from workers.text.heads.neighbours import NEIGHBOURS, nearest, purity
from workers.text.heads.whitening import Matrix, Whitening

SHRINKAGE: Final = 0.3
"""Of the covariance; 0.1 to 0.5 give the same within a point."""

LOOSE, MIDDLE, TIGHT = 0.3, 0.5, 0.7
"""Anchors: the share of the starting posteriors that each step of the mixture keeps."""

PROBE: Final = 0.2
"""The anchor that stability is probed with, against MIDDLE."""

STABLE: Final = 0.11
"""Share of posts that change label between MIDDLE and PROBE up to which LOOSE is taken."""

UNSTABLE: Final = 0.2
"""The same share from which TIGHT is taken."""

MOST_LOST: Final = 0.2
"""Purity that may be lost before the adaptation is refused; up to 0.17 it was mostly better all the same."""


@dataclass(frozen=True)
class Stream:
    """A sample of the stream, made ready once for any number of fits.

    Attributes:
        rows: shape (n, d), unlabelled posts, then examples.
        examples: how many of the last rows are examples.
        whitening: fitted to the rows.
        features: float64, shape (n, d), the rows whitened.
        places: int64, shape (n, k), each row's nearest other rows.
        weights: float32, shape (n, k), how much each counts.
        closest: int64, shape (n, 3), the nearest three of them.
    """

    rows: Embeddings
    examples: int
    whitening: Whitening
    features: Matrix
    places: NDArray[np.int64]
    weights: NDArray[np.float32]
    closest: NDArray[np.int64]

    @classmethod
    def prepare(cls, unlabelled: Embeddings, examples: Embeddings) -> "Stream":
        """Whiten the rows and find their neighbours."""
        rows = np.ascontiguousarray(np.concatenate([unlabelled, examples]), dtype=np.float32)
        whitening = Whitening.fit(rows, SHRINKAGE)
        places, weights = nearest(rows, rows, NEIGHBOURS, same=True)
        order = np.argsort(-weights, axis=1, kind="stable")[:, :3]
        closest = np.take_along_axis(places, order, axis=1)
        return cls(rows, len(examples), whitening, whitening.apply(rows), places, weights, closest)


@dataclass(frozen=True)
class Adaptation:
    """What came of it.

    Attributes:
        scores: the mixture's discriminants, on whitened features.
        posteriors: float64, shape (n, L), of the stream's rows; one-hot where clamped.
        anchor: the anchor that was taken.
        moved: share of posts that change label as the anchor loosens: the measure of stability.
        purity: of the labels that the adaptation gives.
        start_purity: of the labels that it started from.
    """

    scores: LinearScores
    posteriors: Matrix
    anchor: float
    moved: float
    purity: float
    start_purity: float

    @property
    def trusted(self) -> bool:
        """Whether labels lie not much less smoothly than before."""
        return self.purity >= self.start_purity - MOST_LOST


def adapt(
    stream: Stream, start: Matrix, clamped: NDArray[np.bool_], like: Adaptation | None = None
) -> Adaptation:
    """Fit the mixture at the loosest anchor at which the labels hold still.

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
    middle, probe = fit(MIDDLE), fit(PROBE)
    moved = float((middle[1].argmax(axis=1) != probe[1].argmax(axis=1)).mean())
    if moved <= STABLE:
        anchor, (scores, posteriors) = LOOSE, fit(LOOSE)
    elif moved <= UNSTABLE:
        anchor, (scores, posteriors) = MIDDLE, middle
    else:
        anchor, (scores, posteriors) = TIGHT, fit(TIGHT)
    pure = purity(posteriors.argmax(axis=1), stream.places)
    start_pure = purity(start.argmax(axis=1), stream.places)
    posteriors = np.where(clamped[:, None], start, posteriors)
    return Adaptation(scores, posteriors, anchor, moved, pure, start_pure)
