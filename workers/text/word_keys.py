"""The words of many texts at once, each as a 64-bit key: some passes over all letters, no Python for a word.

A word's key is a polynomial in its letters modulo 2⁶⁴. All keys come from one running sum over the letters
(Karp and Rabin, 1987, "Efficient randomized pattern-matching algorithms"), mixed at the end. In a million
words two share a key with a chance of one in thirty million.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_WORDS: Final = 4_096
"""Words of a text that are read."""

CHUNK_CHARS: Final = 65_536
"""Characters looked at together, about: what is made of them stays in the processor's cache."""

_WORD: Final = re.compile(r"\w+")
_ASCII: Final = bytes(ord(chr(n).lower()) if n < 128 and _WORD.match(chr(n)) else 32 for n in range(256))
"""Capitals to small letters, and what is no part of a word to blanks."""
_ASCII_WIDE: Final = np.frombuffer(_ASCII, np.uint8)[:128].astype(np.uint32)
_BLANK: Final = 32

_BASE: Final = 0x9E3779B97F4A7C15
"""Odd, so that it has an inverse modulo 2⁶⁴."""
_MIX: Final = np.uint64(0xD6E8FEB86659FD93)
_SHIFT: Final = np.uint64(32)

Keys = NDArray[np.uint64]


class Words(NamedTuple):
    """The words of n texts, w in all, in order.

    Attributes:
        keys: shape (w,), never 0.
        ends: int64, shape (n,): how many words stand up to the end of each text.
        letters: what they are spelt in: uint8 or uint32, code points in lower case.
        starts: int64, shape (w,): of each word in `letters`.
        stops: likewise, behind its last letter.
    """

    keys: Keys
    ends: NDArray[np.int64]
    letters: NDArray[np.uint8] | NDArray[np.uint32]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]

    def spell(self, word: int, most: int) -> str:
        """A word's letters, `most` of them at most."""
        start, stop = int(self.starts[word]), int(self.stops[word])
        return "".join(map(chr, self.letters[start : min(stop, start + most)].tolist()))


def chunks(texts: Sequence[str]) -> Iterator[slice]:
    """Neighbouring texts that are looked at together."""
    first = chars = 0
    for place, text in enumerate(texts):
        chars += len(text)
        if chars >= CHUNK_CHARS:
            yield slice(first, place + 1)
            first, chars = place + 1, 0
    if first < len(texts):
        yield slice(first, len(texts))


def find_words(texts: Sequence[str]) -> Words:
    """Find the words of texts: letters, digits and underscores, in lower case; at most MAX_WORDS of each."""
    spelt = [
        text
        if text.isascii() and len(text) < 2 * MAX_WORDS
        else " ".join(_WORD.findall(text.lower())[:MAX_WORDS])
        for text in texts
    ]
    letters = _letters(f" {' '.join(spelt)} ")
    inside = letters != _BLANK
    edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1  # it begins and ends with a blank
    starts, stops = edges[::2], edges[1::2]
    text_ends = np.cumsum(np.fromiter(map(len, spelt), np.int64, len(spelt)) + 1)
    return Words(_keys(letters, starts, stops), np.searchsorted(starts, text_ends), letters, starts, stops)


def _letters(said: str) -> NDArray[np.uint8] | NDArray[np.uint32]:
    """Code points, with blanks for what is no part of a word; beyond ASCII that is done already."""
    if said.isascii():
        return np.frombuffer(said.encode().translate(_ASCII), np.uint8)
    wide = np.frombuffer(said.encode("utf-32-le"), np.uint32)
    return np.where(wide < 128, _ASCII_WIDE[wide & 127], wide)


def _keys(letters: NDArray[np.integer], starts: NDArray[np.int64], stops: NDArray[np.int64]) -> Keys:
    powers, inverses = _powers(1 << max(16, int(len(letters) - 1).bit_length()))
    sums = letters.astype(np.uint64)
    sums *= powers[: len(sums)]
    np.cumsum(sums, out=sums)
    keys = sums[stops - 1]
    keys -= sums[starts - 1]
    keys *= inverses[starts]  # as if each word began at 0
    keys ^= keys >> _SHIFT
    keys *= _MIX
    keys ^= keys >> _SHIFT
    return np.maximum(keys, np.uint64(1))


@lru_cache(maxsize=2)
def _powers(count: int) -> tuple[Keys, Keys]:
    """Powers of the base and of its inverse, from 0 on."""
    made = []
    for base in (_BASE, pow(_BASE, -1, 2**64)):
        powers = np.full(count, base, np.uint64)
        powers[0] = 1
        made.append(np.cumprod(powers, out=powers))
    return made[0], made[1]
