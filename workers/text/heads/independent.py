"""Labels that hold or not, each by itself: filters, label sets with several labels a post, none of these."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.text.heads.base import Embeddings, Examples, LabelSpace
from workers.text.heads.level import ABOUT, REST, Level, fit_level
from workers.text.heads.logistic import fit_towards
from workers.text.heads.mixture import LinearScores
from workers.text.heads.neighbours import MOST_REFERENCES, nearest
from workers.text.heads.phrases import NAME_WEIGHT, SHARPNESS, prototypes, unit_rows
from workers.text.heads.whitening import Matrix
from workers.text.heads.widening import narrow

PROTOTYPE_WEIGHT: Final = 4.0
"""Examples that a label's phrases count for."""

CLOSE: Final = 10
"""Posts of the stream whose similarity counts as much as the post's own: topics come in crowds."""

FEWEST_POSTS: Final = 50
"""Posts of a stream below which neighbours say nothing."""

PENALTY: Final = 0.3
"""How strongly a label's direction is held to its prototype where there are counterexamples."""


@dataclass(frozen=True)
class Similarity:
    """How much a post is about each label: its cosine, averaged with that of its neighbours in the stream.

    Attributes:
        centres: float64, shape (L, d): a direction for each label.
        offsets: float64, shape (L,), added to the product with the direction.
        references: posts of the stream, shape (n, d); n may be 0.
        own: the references' similarities by themselves, shape (n, L).
    """

    centres: Matrix
    offsets: NDArray[np.float64]
    references: Embeddings
    own: Matrix

    def measure(self, embeddings: Embeddings) -> Matrix:
        """Measure posts; float64, shape (m, L)."""
        embeddings = narrow(embeddings, self.centres.shape[1])
        alone = np.asarray(embeddings @ self.centres.T + self.offsets, dtype=np.float64)
        if len(self.references) < FEWEST_POSTS or not len(embeddings):
            return alone
        places, _ = nearest(embeddings, self.references, CLOSE)
        return np.asarray(0.5 * (alone + self.own[places].mean(axis=1)), dtype=np.float64)


def fit_similarity(space: LabelSpace, examples: Examples, unlabelled: Embeddings) -> Similarity:
    """Fit a direction for each label: its prototype, moved by examples and away from counterexamples.

    An example that stands once for each of several labels is a counterexample of none of them.

    Args:
        space: the labels.
        examples: labels in [0, L) or −1.
        unlabelled: a sample of the stream; may be empty.
    """
    base = prototypes(space, NAME_WEIGHT)
    unlabelled = narrow(unlabelled, base.shape[1])
    examples = Examples(narrow(examples.embeddings, base.shape[1]), examples.labels)
    rows, which = np.unique(examples.embeddings, axis=0, return_inverse=True)
    which = which.reshape(-1)
    held = np.zeros((len(rows), len(base)), bool)
    known = examples.labels >= 0
    held[which[known], examples.labels[known]] = True
    centres = unit_rows(PROTOTYPE_WEIGHT * base + held.T.astype(np.float64) @ rows)
    offsets = np.zeros(len(base))
    for label, own in enumerate(held.T):
        if own.any() and not own.all():
            centres[label], offsets[label] = _turned(centres[label], rows, own)
    if len(unlabelled) > MOST_REFERENCES:
        unlabelled = unlabelled[np.linspace(0, len(unlabelled) - 1, MOST_REFERENCES).astype(np.int64)]
    own = np.asarray(unlabelled @ centres.T + offsets, dtype=np.float64)
    return Similarity(centres, offsets, unlabelled, own)


def _turned(
    centre: NDArray[np.float64], rows: Embeddings, own: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], float]:
    """Turn a label's direction away from counterexamples; half way between the two it begins to hold.

    Args:
        centre: shape (d,), of length 1.
        rows: shape (n, d), examples and counterexamples.
        own: shape (n,), which are examples; some are, some are not.

    Returns:
        The direction, of length 1, and what to add to products with it.
    """
    truth = own.astype(np.int64)
    middle = 0.5 * (rows[own].mean(axis=0, dtype=np.float64) + rows[~own].mean(axis=0, dtype=np.float64))
    start = LinearScores(np.array([[-0.5], [0.5]]) * SHARPNESS * centre, np.zeros(2))
    weights = np.clip(len(rows) / 2.0 / np.bincount(truth), 0.2, 5.0)[truth]
    found = fit_towards((rows - middle).astype(np.float64), truth, start, PENALTY, weights)
    direction = unit_rows((found.weights[1] - found.weights[0])[None])[0]
    return direction, 0.5 * (REST + ABOUT) - float(direction @ middle)


class IndependentHead:
    """The probability of each label by itself; rows needn't sum to 1.

    A label's posts and all others make two bells of similarity (`level`), fitted to the stream and to
    the examples, and held to what is usual where there are few. One label alone is a filter. An example
    may stand once for each of several labels; of label −1 it is about none of them.
    """

    name = "independent"

    def __init__(self) -> None:
        self._similarity: Similarity | None = None
        self._levels: list[Level] = []

    def fit(self, space: LabelSpace, examples: Examples, unlabelled: Embeddings) -> None:
        """Fit to labels, examples (n may be 0) and an unlabelled sample of the stream (may be empty)."""
        examples = Examples(narrow(examples.embeddings, space.phrase_embeddings.shape[1]), examples.labels)
        similarity = fit_similarity(space, examples, unlabelled)
        rows, which = np.unique(examples.embeddings, axis=0, return_inverse=True)
        held = np.zeros((len(rows), len(space.names)))
        known = examples.labels >= 0
        held[which.reshape(-1)[known], examples.labels[known]] = 1.0
        posts = np.concatenate([similarity.references, rows]).astype(np.float32)
        measured = similarity.measure(posts)
        unknown = np.full((len(similarity.references), len(space.names)), np.nan)
        truth = np.concatenate([unknown, held])
        self._levels = [fit_level(measured[:, i], truth[:, i]) for i in range(len(space.names))]
        self._similarity = similarity

    def predict_proba(self, embeddings: Embeddings) -> NDArray[np.float32]:
        """Probabilities, float32, shape (m, L), each label by itself."""
        if self._similarity is None:
            return np.zeros((len(embeddings), 0), np.float32)
        measured = self._similarity.measure(embeddings)
        found = [level.probability(measured[:, i]) for i, level in enumerate(self._levels)]
        return np.stack(found, axis=1).astype(np.float32)
