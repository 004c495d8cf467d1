"""The words of the static lane: from texts to counts of words, which all label sets share."""

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from workers.text.models import RidgeMap, SentenceEncoder, WordVectors, load_word_vectors
from workers.text.word_keys import Words, chunks, find_words
from workers.text.word_rows import WordRows

_MEMORY: Final = 50_000
"""Rare words whose pieces are remembered, at least; 4 MB."""

_MAX_LETTERS: Final = 64
"""Of a rare word, from which its pieces are found."""

Floats = NDArray[np.float32]


class WordTable(NamedTuple):
    """Word vectors as they are summed, moved into the sentence model's space.

    Attributes:
        rows: float32, shape (words, d + 1 or more): weighted vector, weight, and what else is summed.
        target: float32, shape (d,), added to the mean of a text.
    """

    rows: Floats
    target: Floats

    def embed(self, sums: Floats) -> Floats:
        """Unit rows, shape (m, d), from sums of rows of the table, shape (m, d + 1 or more)."""
        size = len(self.target)
        rows = sums[:, :size] / np.maximum(sums[:, size, None], 1e-6) + self.target
        return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), np.float32)


class Vocabulary:
    """Words and word pieces by row. Thread-safe: what two threads look up at once is looked up twice.

    Args:
        encoder: the sentence model, loaded; its words are distilled the first time.
    """

    def __init__(self, encoder: SentenceEncoder) -> None:
        self.vectors: WordVectors = load_word_vectors(encoder)
        self._encoder = encoder
        self._pieces = {word: index for index, word in enumerate(self.vectors.words)}
        self._known = self._only_own()

    def __len__(self) -> int:
        return len(self._pieces)

    @cached_property
    def general(self) -> WordTable:
        """The table by the map that needs no sample; label sets without one share it."""
        return self.table(self.vectors.general)

    def table(self, mapping: RidgeMap, *more: Floats) -> WordTable:
        """Make a table.

        Args:
            mapping: from weighted means to the sentence model's space.
            more: shape (words, any), further columns to be summed.
        """
        vectors, weights = self.vectors.vectors, self.vectors.weights[:, None]
        moved = (vectors * weights - weights * mapping.source) @ mapping.matrix
        columns = np.concatenate([moved, weights, *more], axis=1)
        return WordTable(np.ascontiguousarray(columns, np.float32), mapping.target)

    def tokenise(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Rows of words: a known word's own, a rare word's pieces; of the first word_keys.MAX_WORDS words."""
        found: list[NDArray[np.int32]] = []
        for chunk in chunks(texts):
            words = find_words(texts[chunk])
            known = self._known
            entries = known.find(words.keys)
            if (entries < 0).any():
                known, entries = self._learn(words, entries)
            flat, counts = known.rows(entries)
            ends = np.concatenate([[0], np.cumsum(counts)])[words.ends]
            found += [flat[start:end] for start, end in pairwise([0, *ends.tolist()])]
        return found

    def counts(self, ids: Sequence[NDArray[np.int32]]) -> csr_matrix:
        """A row for each text: how often each word stands in it."""
        ends = np.zeros(len(ids) + 1, np.int32)
        np.cumsum(np.fromiter(map(len, ids), np.int32, len(ids)), out=ends[1:])
        flat = np.concatenate(ids) if ids else np.zeros(0, np.int32)
        return csr_matrix((np.ones(len(flat), np.float32), flat, ends), shape=(len(ids), len(self)))

    def _learn(self, words: Words, entries: NDArray[np.int32]) -> tuple[WordRows, NDArray[np.int32]]:
        """Look up the pieces of rare words, once and together, and remember them; give all words' entries."""
        rare, first = np.unique(np.where(entries < 0, words.keys, 0), return_index=True)
        first = first[rare > 0].tolist()
        pieces = self._encoder.pieces([words.spell(word, _MAX_LETTERS) for word in first])
        rows = [[self._pieces[piece] for piece in own if piece in self._pieces] for own in pieces]
        known = self._known
        known.add(words.keys[first], rows)
        if (found := known.find(words.keys)).min() < 0:  # it is full: begin anew, with these
            known = self._only_own()
            return self._learn(words, known.find(words.keys))
        return known, found

    def _only_own(self) -> WordRows:
        """A table without rare words, to be used from now on."""
        known = WordRows(len(self) + _MEMORY)
        for chunk in chunks(self.vectors.words):
            words = find_words(self.vectors.words[chunk])
            # A piece is spelt with marks, which are no part of a word: none is found by its letters alone.
            whole = [not word.startswith("##") for word in self.vectors.words[chunk]]
            own = np.flatnonzero((np.diff(words.ends, prepend=0) == 1) & whole)
            known.add(words.keys[words.ends[own] - 1], (own + chunk.start)[:, None])
        self._known = known
        return known
