"""The static lane: no neural network for a post, only a table of word vectors.

Everything about a word stands in one row of one table: its weighted vector, moved into the sentence
model's space, its weight, and what a bag-of-words student of the sentence lane gives it for each label. A
batch is one product of a sparse matrix of counts with that table.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.errors import FatalError
from workers.text.encoders import Encoders, LaneKind, Rows, TextBatch
from workers.text.heads.base import Head
from workers.text.lane import Fitted, Knowledge, Prediction, fit_lane_head, fit_narrow, of_silence
from workers.text.models import RidgeMap, fit_ridge
from workers.text.student import Student, probabilities_of, teach
from workers.text.vocabulary import WordTable

MIN_FOR_MAP: Final = 200
"""Unlabelled texts from which the map is fitted on them."""

MIN_FOR_STUDENT: Final = 300
"""Unlabelled texts from which there is a student."""

_FLOOR: Final = 1e-3
"""Probabilities are taken as at least this before logarithms."""

Floats = NDArray[np.float32]


class StaticLane:
    """Texts to probabilities by word vectors distilled from a sentence model.

    Args:
        encoders: the models; the sentence model is used in `fit` only.
    """

    kind: LaneKind = "static"

    def __init__(self, encoders: Encoders) -> None:
        self.name = f"{encoders.name}-static"
        self._encoders = encoders
        self._table: WordTable | None = None
        """None shares the vocabulary's general one."""
        self._head: Head | None = None
        self._student: Student | None = None
        self._multi = False
        self._open = False
        self._of_silence = 0.0

    def fit(self, knowledge: Knowledge) -> Fitted:
        """Fit the head by the sentence model, then map and student to it."""
        fitted = fit_lane_head(self._encoders, knowledge)
        self.follow(knowledge, fitted)
        return fitted

    def follow(self, knowledge: Knowledge, fitted: Fitted) -> None:
        """Take over a head that was fitted by the sentence model.

        Args:
            knowledge: the texts.
            fitted: the same, embedded.
        """
        vocabulary = self._encoders.vocabulary
        held = vocabulary.vectors
        self._head = None
        self._multi = knowledge.independent
        self._open = knowledge.none_of_these
        self._of_silence = of_silence(knowledge)
        rows = np.concatenate([fitted.unlabelled, fitted.examples.embeddings])
        self._student = None
        self._table = None
        if len(knowledge.unlabelled) < MIN_FOR_STUDENT:  # words know nothing of the model's middle layers
            self._head = fit_narrow(knowledge, fitted)
        if len(rows) < MIN_FOR_MAP:
            return
        counts = vocabulary.counts(vocabulary.tokenise([*knowledge.unlabelled, *knowledge.examples]))
        weighted = held.vectors * held.weights[:, None]
        totals = np.maximum(counts @ held.weights, 1e-6)
        mapping = _fit_map(np.asarray(counts @ weighted / totals[:, None], np.float32), rows, held.general)
        self._table = vocabulary.table(mapping)
        if len(knowledge.unlabelled) >= MIN_FOR_STUDENT:
            embeddings = self._table.embed(counts @ self._table.rows)
            student = teach(counts, embeddings, self._targets(fitted), independent=self._multi)
            self._student = student
            self._table = vocabulary.table(mapping, student.words, student.lengths[:, None])

    def predict(self, batch: TextBatch, rows: Rows) -> Prediction:
        """Sum rows of the table, then classify by the head and the student."""
        if self._table is None:
            embeddings = batch.embed_words(rows)
            found = self._by_head(embeddings)
        else:
            sums = batch.counts(rows) @ self._table.rows
            embeddings = self._table.embed(sums)
            found = (
                self._by_student(sums, embeddings) if self._student is not None else self._by_head(embeddings)
            )
        unread = batch.unread(rows)
        if unread.any():  # nothing speaks for any label
            found[unread] = self._of_silence
        return Prediction(found, embeddings, {})

    def _by_head(self, embeddings: Floats) -> Floats:
        if self._head is None:
            raise FatalError("the lane is not fitted", reason="model_load")
        return self._head.predict_proba(embeddings)

    def _by_student(self, sums: Floats, embeddings: Floats) -> Floats:
        if self._student is None or self._table is None:
            raise FatalError("the lane is not fitted", reason="model_load")
        first = len(self._table.target) + 1
        scores = self._student.score(sums[:, first:-1], sums[:, -1], embeddings)
        found = probabilities_of(scores, independent=self._multi)
        return found[:, :-1] if self._open else found

    def _scores(self, probabilities: Floats) -> Floats:
        """Log-odds for labels that hold by themselves, else log-probabilities about their mean."""
        bounded = np.clip(probabilities, _FLOOR, 1 - _FLOOR)
        if self._multi:
            return np.asarray(np.log(bounded / (1 - bounded)), np.float32)
        logs = np.log(bounded)
        return np.asarray(logs - logs.mean(axis=1, keepdims=True), np.float32)

    def _targets(self, fitted: Fitted) -> Floats:
        """What the student is taught: the head's word on the sample, the truth on the examples."""
        found = fitted.head.predict_proba(fitted.wide)
        if self._open:  # none of these is a label like the others here
            found = np.concatenate([found, 1 - found.sum(axis=1, keepdims=True)], axis=1)
        first = len(fitted.unlabelled)
        for row, label in enumerate(fitted.examples.labels):
            found[first + row] = 0
            if label >= 0 or self._open:
                found[first + row, label] = 1
        return self._scores(found)


def _fit_map(inputs: Floats, targets: Floats, general: RidgeMap) -> RidgeMap:
    """Fit the map on the stream; what a small sample can't tell is left to the general one."""
    residual = fit_ridge(inputs, np.asarray(targets - general.apply(inputs), np.float32))
    matrix = general.matrix + residual.matrix
    return RidgeMap(
        residual.source,
        matrix,
        np.asarray(
            residual.target + general.target + (residual.source - general.source) @ general.matrix, np.float32
        ),
    )
