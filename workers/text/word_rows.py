"""A table from the keys of words to rows of word vectors, looked up for thousands of words at once."""

import threading
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.text.span_keys import Keys

_FEWEST: Final = 1 << 12
_UNKNOWN: Final = -1


class WordRows:
    """Rows by word: one of its own, or those of its pieces, which may be none.

    An open-addressed table with linear probing. Any number of threads may look up while another adds: an
    entry is there before its key is.

    Args:
        room: words it has room for, at least.
    """

    def __init__(self, room: int) -> None:
        self._size = 1 << (2 * max(room, _FEWEST) - 1).bit_length()
        self._shift = np.uint64(65 - self._size.bit_length())
        self._keys = np.zeros(self._size, np.uint64)
        self._entries = np.full(self._size, _UNKNOWN, np.int32)
        self._first = np.zeros(self._size // 2, np.int32)
        self._count = np.zeros(self._size // 2, np.int32)
        self._rows = np.zeros(_FEWEST, np.int32)
        self._held = 0
        self._held_rows = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Words held."""
        return self._held

    def find(self, keys: Keys) -> NDArray[np.int32]:
        """Entries of words, shape (w,); −1 where a word is not known."""
        places = (keys >> self._shift).astype(np.int64)
        rest = np.flatnonzero(self._keys[places] != keys)
        entries = self._entries[places]
        places = places[rest]
        while len(rest):
            wanted, held = keys[rest], self._keys[places]
            entries[rest] = np.where(held == wanted, self._entries[places], _UNKNOWN)
            on = (held != 0) & (held != wanted)
            rest, places = rest[on], (places[on] + 1) & (self._size - 1)
        return entries

    def rows(self, entries: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Rows of words, one after the other, and how many each has, shape (w,)."""
        counts = self._count[entries]
        ends = np.cumsum(counts)
        behind = np.repeat(self._first[entries] - (ends - counts), counts)
        return self._rows[behind + np.arange(len(behind))], counts

    def add(self, keys: Keys, rows: Sequence[Sequence[int]] | NDArray[np.int64]) -> None:
        """Add words, each with its rows; what is held already, or has no room, is passed over.

        Args:
            keys: shape (w,), each once.
            rows: of each word.
        """
        with self._lock:
            for place in np.flatnonzero(self.find(keys) == _UNKNOWN).tolist():
                if self._held < self._size // 2:
                    self._append(rows[place])
                    self._publish(int(keys[place]))

    def _append(self, rows: Sequence[int] | NDArray[np.int64]) -> None:
        end = self._held_rows + len(rows)
        if end > len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros(max(end, len(self._rows)), np.int32)])
        self._rows[self._held_rows : end] = rows
        self._first[self._held], self._count[self._held] = self._held_rows, len(rows)
        self._held_rows = end

    def _publish(self, key: int) -> None:
        """Make the next entry known by its key."""
        place = key >> int(self._shift)
        while self._keys[place]:
            place = (place + 1) & (self._size - 1)
        self._entries[place] = self._held
        self._held += 1
        self._keys[place] = key
