"""Keys of parts of a text, all from one running sum over its letters; equal for equal letters anywhere.

A key is a polynomial in the letters modulo 2⁶⁴. Source: Karp and Rabin, Efficient randomized pattern-matching
algorithms (1987).
"""

from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]

_BASE: Final = 0x9E3779B97F4A7C15
"""Odd, so that it has an inverse modulo 2⁶⁴."""

_FEWEST: Final = 16
"""Tables hold two to this power at least, so that a few sizes do for all texts."""


def span_keys(letters: NDArray[Any], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Keys:
    """The key of each span; the low bits are poor, so mix before use.

    Args:
        letters: whole numbers, shape (n,), never 0 where they count.
        starts: of w spans, from 0 on, shape (w,).
        ends: behind the last letter of each, shape (w,).
    """
    up, down = _powers(max(_FEWEST, len(letters).bit_length()))
    sums = np.zeros(len(letters) + 1, np.uint64)
    np.cumsum(letters * up[: len(letters)], out=sums[1:])
    keys = sums[ends]
    keys -= sums[starts]
    keys *= down[starts]  # as if each began at 0
    return keys


@lru_cache(maxsize=4)
def _powers(bits: int) -> tuple[Keys, Keys]:
    """Powers of the base, and of its inverse, from 0 on: two to the `bits` of each."""
    up, down = np.ones((2, 1 << bits), np.uint64)
    np.cumprod(np.full((1 << bits) - 1, _BASE, np.uint64), out=up[1:])
    np.cumprod(np.full((1 << bits) - 1, pow(_BASE, -1, 2**64), np.uint64), out=down[1:])
    return up, down
