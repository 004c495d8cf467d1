"""The words of the static lane: from texts to counts of words, which all label sets share."""

import re
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Final, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from workers.text.models import RidgeMap, SentenceEncoder, WordVectors, load_word_vectors

MAX_WORDS: Final = 4_096
"""Words of a text that are read."""

_WORD: Final = re.compile(r"\w+")
_ASCII_WORDS: Final = bytes(
    ord(chr(n).lower()) if n < 128 and _WORD.match(chr(n)) else 32 for n in range(256)
)
"""Capitals to small letters, and what is no part of a word to blanks: the same words in half the time."""

_MEMORY: Final = 200_000
"""Rare words whose pieces are remembered."""


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
        self._rows: dict[str, tuple[int, ...]] = {word: (index,) for word, index in self._pieces.items()}

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

    def tokenise(self, texts: Sequence[str]) -> list[list[int]]:
        """Rows of words: a known word's own, a rare word's pieces; at most MAX_WORDS words a text."""
        said = [_words(text) for text in texts]
        find = self._rows.__getitem__
        found: list[list[int] | None] = []
        for words in said:
            try:
                found.append(list(chain.from_iterable(map(find, words))))
            except KeyError:
                found.append(None)
        unknown = [words for words, ids in zip(said, found, strict=True) if ids is None]
        if unknown:
            rows = self._learn(dict.fromkeys(chain.from_iterable(unknown)))
            for at, ids in enumerate(found):
                if ids is None:
                    found[at] = list(chain.from_iterable(map(rows.__getitem__, said[at])))
        return cast("list[list[int]]", found)

    def counts(self, ids: Sequence[list[int]]) -> csr_matrix:
        """A row for each text: how often each word stands in it."""
        ends = np.zeros(len(ids) + 1, np.int32)
        np.cumsum([len(row) for row in ids], out=ends[1:])
        flat = np.fromiter(chain.from_iterable(ids), np.int32, int(ends[-1]))
        return csr_matrix((np.ones(len(flat), np.float32), flat, ends), shape=(len(ids), len(self)))

    def _learn(self, words: Collection[str]) -> Mapping[str, tuple[int, ...]]:
        """The rows of words; those of rare words' pieces are looked up once, together, and remembered."""
        rows, pieces = self._rows, self._pieces
        rare = [word for word in words if word not in rows]
        if len(rows) >= len(pieces) + _MEMORY:
            kept = {word: rows[word] for word in words if word in rows}
            rows = {**{word: (index,) for word, index in pieces.items()}, **kept}
        for word, found in zip(rare, self._encoder.pieces([word[:64] for word in rare]), strict=True):
            rows[word] = tuple([pieces[piece] for piece in found if piece in pieces])
        self._rows = rows
        return rows


def _words(text: str) -> list[str]:
    """Words in lower case, at most MAX_WORDS."""
    if text.isascii():
        words = text.encode().translate(_ASCII_WORDS).decode().split()
    else:
        words = _WORD.findall(text.lower())
    return words[:MAX_WORDS] if len(words) > MAX_WORDS else words
