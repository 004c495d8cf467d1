"""The static lane: no neural network for a post, only a table of word vectors.

Everything about a word stands in one row of one table: its weighted vector, moved into the sentence
model's space, its weight, and what a bag-of-words student of the sentence lane gives it for each label. A
batch is one product of a sparse matrix of counts with that table.
"""

import re
from collections.abc import Sequence
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from workers.errors import FatalError
from workers.text.heads.base import Head
from workers.text.lane import Fitted, Knowledge, Prediction, fit_head
from workers.text.models import RidgeMap, SentenceEncoder, WordVectors, fit_ridge, load_word_vectors
from workers.text.student import Student, probabilities_of, teach

MIN_FOR_MAP: Final = 200
"""Unlabelled texts from which the map is fitted on them."""

MIN_FOR_STUDENT: Final = 300
"""Unlabelled texts from which there is a student."""

MAX_WORDS: Final = 4_096
"""Words of a text that are read."""

_FLOOR: Final = 1e-3
"""Probabilities are taken as at least this before logarithms."""

_WORD: Final = re.compile(r"\w+")

_MEMORY: Final = 200_000
"""Rare words whose pieces are remembered."""

Floats = NDArray[np.float32]


class StaticLane:
    """Texts to probabilities by word vectors distilled from a sentence model.

    Args:
        source: the sentence model's.
        threads: for the sentence model, which is used in `fit` only.
        encoder: the sentence model, where it is there already.
    """

    def __init__(self, source: str, *, threads: int, encoder: SentenceEncoder | None = None) -> None:
        self.encoder = encoder or SentenceEncoder(source, threads=threads)
        self.name = f"{self.encoder.name}-static"
        self.max_tokens = MAX_WORDS
        self._rows: dict[str, tuple[int, ...]] = {}
        self._pieces: dict[str, int] = {}
        self._vectors: WordVectors | None = None
        self._table: Floats = np.zeros((0, 0), np.float32)
        self._target: Floats = np.zeros(0, np.float32)
        self._head: Head | None = None
        self._student: Student | None = None
        self._multi = False
        self._open = False

    def load(self) -> None:
        """Load the sentence model and the vectors; the first time, distil them."""
        self.encoder.load()
        self._vectors = load_word_vectors(self.encoder)
        self._pieces = {word: index for index, word in enumerate(self._vectors.words)}
        self._rows = {word: (index,) for word, index in self._pieces.items()}

    def fit(self, knowledge: Knowledge) -> Fitted:
        """Fit the head by the sentence model, then map and student to it."""
        fitted = fit_head(self.encoder, knowledge)
        self.follow(knowledge, fitted)
        return fitted

    def follow(self, knowledge: Knowledge, fitted: Fitted) -> None:
        """Take over a head that was fitted by the sentence model.

        Args:
            knowledge: the texts.
            fitted: the same, embedded.
        """
        held = self._held()
        self._head = fitted.head
        self._multi = knowledge.independent
        self._open = knowledge.none_of_these
        ids = self.tokenise([*knowledge.unlabelled, *knowledge.examples])
        rows = np.concatenate([fitted.unlabelled, fitted.examples.embeddings])
        counts = self._counts(ids)
        weighted = held.vectors * held.weights[:, None]
        mapping = held.general
        if len(rows) >= MIN_FOR_MAP:
            totals = np.maximum(counts @ held.weights, 1e-6)
            mapping = _fit_map(
                np.asarray(counts @ weighted / totals[:, None], np.float32), rows, held.general
            )
        moved = (weighted - held.weights[:, None] * mapping.source) @ mapping.matrix
        parts = [moved, held.weights[:, None]]
        self._target = mapping.target
        self._student = None
        if len(knowledge.unlabelled) >= MIN_FOR_STUDENT:
            embeddings = self._embed(counts @ np.concatenate(parts, axis=1))
            student = teach(counts, embeddings, self._targets(fitted), independent=self._multi)
            parts += [student.words, student.lengths[:, None]]
            self._student = student
        self._table = np.ascontiguousarray(np.concatenate(parts, axis=1), np.float32)

    def tokenise(self, texts: Sequence[str]) -> list[list[int]]:
        """Rows of the table: a known word's own, a rare word's pieces."""
        find = self._rows.__getitem__
        found = []
        for text in texts:
            words = _WORD.findall(text.lower())[:MAX_WORDS]
            try:
                found.append(list(chain.from_iterable(map(find, words))))
            except KeyError:
                found.append([index for word in words for index in self._pieces_of(word)])
        return found

    def predict(self, texts: Sequence[str], tokens: Sequence[list[int]]) -> Prediction:  # noqa: ARG002
        """Sum rows of the table, then classify by the head and the student."""
        if self._head is None:
            raise FatalError("the lane is not fitted", reason="model_load")
        sums = self._counts(tokens) @ self._table
        rows = self._embed(sums)
        if self._student is None:
            return Prediction(self._head.predict_proba(rows), rows, {})
        first = len(self._target) + 1
        scores = self._student.score(sums[:, first:-1], sums[:, -1], rows)
        found = probabilities_of(scores, independent=self._multi)
        return Prediction(found[:, :-1] if self._open else found, rows, {})

    def _embed(self, sums: Floats) -> Floats:
        """Unit rows from sums of rows of the table, shape (m, d + 1 or more)."""
        size = len(self._target)
        rows = sums[:, :size] / np.maximum(sums[:, size, None], 1e-6) + self._target
        return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), np.float32)

    def _held(self) -> WordVectors:
        if self._vectors is None:
            raise FatalError("the lane is not loaded", reason="model_load")
        return self._vectors

    def _pieces_of(self, word: str) -> tuple[int, ...]:
        """The rows of a word; a rare one's pieces are looked up once and remembered."""
        known = self._rows.get(word)
        if known is not None:
            return known
        held = self._held().words
        ids = [self._pieces[piece] for piece in self.encoder.pieces(word[:64]) if piece in self._pieces]
        if len(self._rows) >= len(held) + _MEMORY:
            self._rows = {word: (index,) for index, word in enumerate(held)}
        self._rows[word] = found = tuple(ids)
        return found

    def _counts(self, ids: Sequence[list[int]]) -> csr_matrix:
        """A row for each text: how often each row of the table stands in it."""
        ends = np.zeros(len(ids) + 1, np.int32)
        np.cumsum([len(row) for row in ids], out=ends[1:])
        flat = np.fromiter((i for row in ids for i in row), np.int32, int(ends[-1]))
        return csr_matrix((np.ones(len(flat), np.float32), flat, ends), shape=(len(ids), len(self._pieces)))

    def _scores(self, probabilities: Floats) -> Floats:
        """Log-odds for labels that hold by themselves, else log-probabilities about their mean."""
        bounded = np.clip(probabilities, _FLOOR, 1 - _FLOOR)
        if self._multi:
            return np.asarray(np.log(bounded / (1 - bounded)), np.float32)
        logs = np.log(bounded)
        return np.asarray(logs - logs.mean(axis=1, keepdims=True), np.float32)

    def _targets(self, fitted: Fitted) -> Floats:
        """What the student is taught: the head's word on the sample, the truth on the examples."""
        found = fitted.head.predict_proba(np.concatenate([fitted.unlabelled, fitted.examples.embeddings]))
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
