"""The words of many texts at once, each as a 64-bit key: some passes over all letters, no Python for a word.

In a million words two share a key with a chance of one in thirty million.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.text.span_keys import Keys, span_keys

MAX_WORDS: Final = 4_096
"""Words of a text that are read."""

CHUNK_CHARS: Final = 65_536
"""Characters looked at together, about: what is made of them stays in the processor's cache."""

_WORD: Final = re.compile(r"\w+")
_ASCII: Final = bytes(ord(chr(n).lower()) if n < 128 and _WORD.match(chr(n)) else 32 for n in range(256))
"""Capitals to small letters, and what is no part of a word to blanks."""
_ASCII_WIDE: Final = np.frombuffer(_ASCII, np.uint8)[:128].astype(np.uint32)
_BLANK: Final = 32

_MIX: Final = np.uint64(0xD6E8FEB86659FD93)
_SHIFT: Final = np.uint64(32)


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
    return Words(
        _mixed(span_keys(letters, starts, stops)), np.searchsorted(starts, text_ends), letters, starts, stops
    )


def _letters(said: str) -> NDArray[np.uint8] | NDArray[np.uint32]:
    """Code points, with blanks for what is no part of a word; beyond ASCII that is done already."""
    if said.isascii():
        return np.frombuffer(said.encode().translate(_ASCII), np.uint8)
    wide = np.frombuffer(said.encode("utf-32-le"), np.uint32)
    return np.where(wide < 128, _ASCII_WIDE[wide & 127], wide)


def _mixed(keys: Keys) -> Keys:
    """Spread the bits; never 0."""
    keys ^= keys >> _SHIFT
    keys *= _MIX
    keys ^= keys >> _SHIFT
    return np.maximum(keys, np.uint64(1))
