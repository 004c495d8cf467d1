"""The plainest head: a post belongs to the label whose phrases are nearest."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.text.heads.base import Embeddings, Examples, LabelSpace

TEMPERATURE: Final = 20.0
"""Softmax over TEMPERATURE × cosine: sentence embeddings of one topic differ by a few hundredths."""


class NearestPhraseHead:
    """Softmax of the cosine to the mean of each label's phrases and examples.

    One label alone is a filter: the probability is a sigmoid around the similarity 0.25.
    """

    name = "nearest"

    def __init__(self) -> None:
        self._centres: Embeddings = np.zeros((0, 0), np.float32)

    def fit(self, space: LabelSpace, examples: Examples, unlabelled: Embeddings) -> None:  # noqa: ARG002
        """Average what is known of each label; the unlabelled sample is not used."""
        rows = np.concatenate([space.phrase_embeddings, examples.embeddings])
        labels = np.concatenate([space.phrase_labels, examples.labels])
        sums = np.zeros((len(space.names), rows.shape[1]), np.float32)
        np.add.at(sums, labels, rows)
        self._centres = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)

    def predict_proba(self, embeddings: Embeddings) -> NDArray[np.float32]:
        """Probabilities, shape (m, L)."""
        scores = TEMPERATURE * (embeddings @ self._centres.T)
        if scores.shape[1] == 1:
            return np.asarray(1 / (1 + np.exp(0.25 * TEMPERATURE - scores)), np.float32)
        scores -= scores.max(axis=1, keepdims=True)
        weights = np.exp(scores)
        return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)
