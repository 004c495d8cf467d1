"""Signatures of what texts say: MinHash over pairs of words, for a whole batch at a time.

Two texts agree in as many of their signature's places as they share of their word pairs, on average. All is
done on bytes in numpy: in Python a text would take fifty microseconds, and a regular expression alone four.

Source: Broder, On the resemblance and containment of documents (1997).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.text.span_keys import span_keys

PLACES: Final = 12
"""Hashes in a signature: an estimate of the share that two texts have in common to about a tenth."""

MAX_CHARS: Final = 160
"""Of a longer text, so many characters count: what tells a story tells it at the beginning."""

MIN_BYTES: Final = 12
"""A text whose words are shorter together says too little: two posts of `ok` are no story."""

_LOWER: Final = bytes(ord(chr(byte).lower()) if byte < 128 else byte for byte in range(256))
_IN_WORD: Final = bytes(byte >= 128 or chr(byte).isalnum() for byte in range(256))
_END: Final = "\0"

_MIX: Final = np.uint64(0xBF58476D1CE4E5B9)
_PAIR: Final = np.uint64(0x94D049BB133111EB)
_SHIFT: Final = np.uint64(32)
_FACTORS: Final = np.random.default_rng(1997).integers(0, 2**31, PLACES, dtype=np.uint32) * 2 + np.uint32(1)

Signatures = NDArray[np.uint32]


def sign(texts: Sequence[str]) -> tuple[Signatures, NDArray[np.bool_]]:
    """Sign texts, without regard to case, punctuation, links and mentions.

    Args:
        texts: n texts.

    Returns:
        uint32, shape (n, PLACES); and bool, shape (n,): whether a text says enough to be compared. A text of
        fewer than four words has the signature of the whole, so that it is like its copies only.
    """
    blob = "".join(text[:MAX_CHARS].replace(_END, " ") + _END for text in texts)
    words, owners, lengths = _words(blob.encode("utf-8", "replace").translate(_LOWER))
    counts = np.bincount(owners, minlength=len(texts))
    enough = np.bincount(owners, lengths, len(texts)) >= MIN_BYTES
    shingles, of = _shingles(words, owners, counts)
    found = np.zeros((len(texts), PLACES), np.uint32)
    if len(shingles):
        hashes = (shingles >> _SHIFT).astype(np.uint32)[:, None] * _FACTORS
        starts = np.flatnonzero(np.r_[True, of[1:] != of[:-1]])
        found[of[starts]] = np.minimum.reduceat(hashes, starts, axis=0)
    return found, enough & (counts > 0)


def agreement(one: Signatures, other: Signatures) -> NDArray[np.float64]:
    """Share of places in which signatures agree, over the last axis: about what they have in common."""
    return np.asarray((one == other).mean(axis=-1))


def _words(blob: bytes) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    """The hash, the text's index and the length in bytes of each word."""
    said = np.frombuffer(blob, np.uint8)
    inside = np.zeros(len(said) + 2, bool)
    inside[1:-1] = np.frombuffer(blob.translate(_IN_WORD), bool)
    marks = np.flatnonzero(said == 0xE2)
    marks = marks[said[marks + 1] == 0x80] + 1  # dashes, dots and curly quotes, of three bytes each
    inside[marks] = inside[marks + 1] = inside[marks + 2] = False
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    starts, ends = edges[::2], edges[1::2]
    kept = ~_is_address(said, starts)
    starts, ends = starts[kept], ends[kept]
    words = span_keys(said, starts, ends)
    owners = np.searchsorted(np.flatnonzero(said == 0), starts)
    return _mixed(words), owners.astype(np.int64), ends - starts


def _is_address(said: NDArray[np.uint8], starts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which words are mentions, or parts of links."""
    found = (said[starts - 1] == ord("@")) & (starts > 0)
    links = starts[said[starts] == ord("h")]
    heads = np.minimum(links[:, None] + np.arange(4), len(said) - 1)
    links = links[(said[heads] == np.frombuffer(b"http", np.uint8)).all(axis=1)]
    if len(links):
        gaps = np.flatnonzero(said <= ord(" "))
        until = gaps[np.searchsorted(gaps, links)]  # the text's end is a gap too
        last = np.searchsorted(links, starts, side="right") - 1
        found |= (last >= 0) & (starts < until[last])
    return np.asarray(found)


def _shingles(
    words: NDArray[np.uint64], owners: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Pairs of neighbouring words; of a text with fewer than four, one shingle of them all."""
    short = counts[owners] < 4
    pair = (owners[1:] == owners[:-1]) & ~short[1:]
    pairs = _mixed(words[:-1][pair] * _PAIR + words[1:][pair])
    if not short.any():
        return pairs, owners[1:][pair]
    few = np.flatnonzero(short)
    starts = np.flatnonzero(np.r_[True, owners[few][1:] != owners[few][:-1]])
    place = np.arange(len(few)) - np.repeat(starts, np.diff(np.r_[starts, len(few)]))
    wholes = _mixed(np.add.reduceat(words[few] * (_PAIR + np.uint64(2) * place.astype(np.uint64)), starts))
    shingles = np.concatenate([pairs, wholes])
    of = np.concatenate([owners[1:][pair], owners[few][starts]])
    order = np.argsort(of, kind="stable")
    return shingles[order], of[order]


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread the bits, so that the upper half depends on all."""
    values = (values ^ (values >> _SHIFT)) * _MIX
    return np.asarray((values ^ (values >> np.uint64(29))) * _PAIR)
