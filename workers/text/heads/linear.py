"""The classic `linear`: regularised logistic regression on embeddings."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.text.heads.base import Embeddings, Examples, LabelSpace
from workers.text.heads.logistic import fit_towards
from workers.text.heads.mixture import LinearScores, softmax
from workers.text.heads.phrases import filter_probability, of_labels, prototypes, unit_rows
from workers.text.heads.widening import narrow

PENALTY: Final = 0.1
"""The inverse of scikit-learn's C: with unit rows C = 10 is near the best from 4 to 500 examples a label."""


class LinearHead:
    """Multinomial logistic regression with an L2 penalty.

    A label without an example lends its phrases as examples, so that it can be given at all. Only examples
    count otherwise: with few of them this head loses to `zero_shot`, with hundreds it wins.
    """

    name = "linear"

    def __init__(self, penalty: float = PENALTY) -> None:
        self._penalty = penalty
        self._scores = LinearScores(np.zeros((0, 0)), np.zeros(0))

    def fit(self, space: LabelSpace, examples: Examples, unlabelled: Embeddings) -> None:  # noqa: ARG002
        """Fit to the examples; unlabelled posts play no part."""
        count = len(space.names)
        examples = Examples(narrow(examples.embeddings, space.phrase_embeddings.shape[1]), examples.labels)
        if count == 1:
            centre = prototypes(space) + of_labels(examples).embeddings.sum(axis=0, dtype=np.float64)
            self._scores = LinearScores(unit_rows(centre), np.zeros(1))
            return
        known = of_labels(examples)
        bare = ~np.isin(space.phrase_labels, known.labels)
        rows = np.concatenate([known.embeddings, space.phrase_embeddings[bare]]).astype(np.float64)
        labels = np.concatenate([known.labels, space.phrase_labels[bare]])
        nothing = LinearScores(np.zeros((count, rows.shape[1])), np.zeros(count))
        self._scores = fit_towards(rows, labels, nothing, self._penalty)

    def predict_proba(self, embeddings: Embeddings) -> NDArray[np.float32]:
        """Probabilities, float32, shape (m, L)."""
        scores = self._scores.score(narrow(embeddings, self._scores.weights.shape[1]).astype(np.float64))
        return filter_probability(scores) if scores.shape[1] == 1 else softmax(scores).astype(np.float32)
