"""The product's own head: label phrases, examples and an unlabelled sample in one classifier."""

import numpy as np
from numpy.typing import NDArray

from workers.text.heads.base import Embeddings, Examples, LabelSpace
from workers.text.heads.mixture import LinearScores, fit_mixture, softmax
from workers.text.heads.phrases import SHARPNESS, prototypes, unit_rows
from workers.text.heads.whitening import Whitening

SHRINKAGE = 0.3
"""Of the covariance; 0.1 to 0.5 give the same within a point on topics."""

ANCHOR = 0.5
"""The share of the zero-shot posteriors that the mixture keeps: harmless on every set tried."""

PROTOTYPE_WEIGHT = 4.0
"""Examples that a label's phrases count for."""

FILTER_LEVEL = 0.2
"""Cosine to the label at which a lone label holds as often as not."""


class ProductHead:
    """Zero-shot, few-shot and adaptation to the stream in one linear head.

    Prototypes of label phrases, shrunk towards by the examples, start a shared-covariance mixture that is
    anchored in them and in which examples keep their label (`mixture`).
    """

    name = "product"

    def __init__(self) -> None:
        self._whitening: Whitening | None = None
        self._scores = LinearScores(np.zeros((0, 0)), np.zeros(0))

    def fit(self, space: LabelSpace, examples: Examples, unlabelled: Embeddings) -> None:
        """Fit to labels, examples (n may be 0) and an unlabelled sample of the stream (may be empty)."""
        count = len(space.names)
        centres = prototypes(space)
        totals = PROTOTYPE_WEIGHT * centres
        np.add.at(totals, examples.labels, examples.embeddings)
        centres = unit_rows(totals)
        sample = np.concatenate([unlabelled, examples.embeddings])
        if count == 1 or len(sample) < 2 * count:
            self._whitening = None
            self._scores = LinearScores(SHARPNESS * centres, np.zeros(count))
            return
        self._whitening = Whitening.fit(sample, SHRINKAGE)
        start = softmax(SHARPNESS * (sample @ centres.T))
        clamped = np.arange(len(sample)) >= len(unlabelled)
        start[clamped] = np.eye(count)[examples.labels]
        self._scores = fit_mixture(
            self._whitening.apply(sample),
            start,
            shrinkage=self._whitening.shrinkage,
            anchor=ANCHOR,
            clamped=clamped,
        )

    def predict_proba(self, embeddings: Embeddings) -> NDArray[np.float32]:
        """Probabilities, float32, shape (m, L); rows sum to 1, but for a lone label: it holds or not."""
        features = (
            embeddings.astype(np.float64) if self._whitening is None else self._whitening.apply(embeddings)
        )
        scores = self._scores.score(features)
        if scores.shape[1] == 1:
            return np.asarray(1.0 / (1.0 + np.exp(SHARPNESS * FILTER_LEVEL - scores)), dtype=np.float32)
        return softmax(scores).astype(np.float32)
