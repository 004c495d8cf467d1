"""Finds the story that a text belongs to: an index of signatures of bounded size, a batch at a time.

Signatures are cut in bands; texts that agree in a whole band are compared in full (locality-sensitive
hashing). Of a table of stories by band, the newest entry keeps a place: what nobody repeats is forgotten, and
what is repeated is entered anew.

Source: Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, ch. 3.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.text.bursts_signature import PLACES, Signatures, agreement

BAND: Final = 2
"""Places in a band: two texts with half of their word pairs in common meet in one of six bands five times in
six, with a fifth in common one time in five."""

BANDS: Final = PLACES // BAND

ALIKE: Final = 0.4
"""Share of places from which on two texts tell one story."""

SLOTS: Final = 2**16
"""Entries for each band, and texts whose signatures are kept: 7 MB in all, and the last 65,536 new texts."""

_HASH: Final = np.uint64(0x9E3779B97F4A7C15)

Numbers = NDArray[np.int64]


class StoryIndex:
    """Numbers stories. Not thread-safe."""

    def __init__(self) -> None:
        self._next = 1
        self._stories = np.zeros((BANDS, SLOTS), np.int64)
        self._signatures = np.zeros((SLOTS, PLACES), np.uint32)
        self._held = np.zeros(SLOTS, np.int64)
        """The number of the story whose signature stands here; 0: none."""
        self._began = np.zeros(SLOTS)

    @property
    def newest(self) -> int:
        """The number given last; 0 before the first."""
        return self._next - 1

    def place(self, signatures: Signatures, at: NDArray[np.float64]) -> Numbers:
        """Find or make the story of each text.

        Args:
            signatures: shape (n, PLACES), n at most SLOTS.
            at: when each text was written, in seconds, shape (n,).

        Returns:
            Numbers from 1 on, shape (n,): that of a former text's story, of another text's in this batch, or
            a new one.
        """
        slots = _slots(signatures)
        found = self._find(signatures, slots, np.zeros(len(signatures), np.int64))
        new = np.flatnonzero(found == 0)
        if len(new):
            found[new] = own = np.arange(self._next, self._next + len(new))
            self._next += len(new)
            self._signatures[own % SLOTS] = signatures[new]
            self._held[own % SLOTS] = own
            self._began[own % SLOTS] = at[new]
        self._enter(slots, found)
        if len(new):
            # Read back, texts of this batch see who else wrote to their bands: the later one of two alike.
            joined = self._find(signatures[new], slots[new], own)
            found[new] = _roots(own, np.where(joined == 0, own, joined))
            self._enter(slots, found)
        return found

    def _enter(self, slots: Numbers, found: Numbers) -> None:
        """Enter each text under its own bands, so that a story is found by what is newest of it."""
        self._stories[np.arange(BANDS), slots] = found[:, None]

    def began(self, number: int) -> float:
        """When the first text of a story was written, in seconds."""
        return float(self._began[number % SLOTS])

    def renew(self, number: int) -> int:
        """Keep a story that may be forgotten soon.

        Returns:
            Its new number; the same where it is not due, 0 where it is forgotten already.
        """
        if self._held[number % SLOTS] != number:
            return 0
        if self._next - number < SLOTS // 2:
            return number
        new = self._next
        self._next += 1
        signature = self._signatures[number % SLOTS].copy()
        self._signatures[new % SLOTS] = signature
        self._held[new % SLOTS] = new
        self._began[new % SLOTS] = self.began(number)
        self._stories[np.arange(BANDS), _slots(signature[None])[0]] = new
        return new

    def _find(self, signatures: Signatures, slots: Numbers, own: Numbers) -> Numbers:
        """The story of each text that agrees with it best, other than its own; 0 where none is alike."""
        seen = self._stories[np.arange(BANDS), slots]
        seen[(seen == own[:, None]) | (self._held[seen % SLOTS] != seen)] = 0
        found = np.zeros(len(signatures), np.int64)
        some = np.flatnonzero(seen.any(axis=1))
        if not len(some):
            return found
        candidates = seen[some]
        alike = agreement(self._signatures[candidates % SLOTS], signatures[some, None])
        alike[candidates == 0] = 0
        best = alike.argmax(axis=1)
        rows = np.arange(len(some))
        found[some] = np.where(alike[rows, best] >= ALIKE, candidates[rows, best], 0)
        return found


def _slots(signatures: Signatures) -> Numbers:
    """Where each band of each text stands, shape (n, BANDS)."""
    bands = signatures.reshape(len(signatures), BANDS, BAND).astype(np.uint64)
    keys = (bands[:, :, 0] << np.uint64(32) | bands[:, :, 1]) * _HASH
    return np.asarray(keys >> np.uint64(48), np.int64)


def _roots(own: Numbers, joined: Numbers) -> Numbers:
    """Follow to the end who joined whom: always somebody later in the batch, or a former story."""
    first = int(own[0])
    for _ in range(5):  # each time twice as far
        inside = joined >= first
        joined = np.where(inside, joined[np.where(inside, joined - first, 0)], joined)
    return joined
