"""Posts that say the same: retweets and copies, which share one inference."""

import re
import string
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, Generic, TypeVar

import numpy as np
import xxhash

CAPACITY: Final = 20_000
"""Posts remembered; some hours of a busy feed, a few tens of megabytes."""

_MIN_CHARS: Final = 12
"""A shorter rest says too little: two posts of one emoji each, or `ok`, are no copies."""

_ADDRESSES: Final = re.compile(r"^\s*rt\s+@\w+|https?://\S+|@\w+")
_SEPARATOR: Final = "\x80"
"""Stands between texts; no ASCII."""
_BLANK: Final = 32
_ASCII_PUNCTUATION: Final = bytes(
    _BLANK if chr(n) in string.punctuation or chr(n).isspace() else n for n in range(128)
) + bytes(range(128, 256))
"""Punctuation, and all that `str.split` takes for a blank, to blanks; for bytes, ten times as fast."""
_PUNCTUATION: Final = str.maketrans(dict.fromkeys(string.punctuation + "…“”‘’–—", " "))

AnswerT = TypeVar("AnswerT")


def fingerprint(text: str) -> int:
    """Hash what a text says; see `fingerprints`."""
    return fingerprints([text])[0]


def fingerprints(texts: Sequence[str]) -> list[int]:
    """Hash what texts say: without case, punctuation, links, mentions and the mark of a retweet.

    Returns:
        64 bits each; equal for near-duplicates, and different for others but for one pair in 10¹⁹.
    """
    said = [text.casefold() for text in texts]
    said = [_ADDRESSES.sub(" ", one) if "@" in one or "http" in one else one for one in said]
    found = []
    for text, one, words in zip(texts, said, _ascii_words(said), strict=True):
        if words is None or len(words) < _MIN_CHARS:
            other = " ".join(one.translate(_PUNCTUATION).split())
            words = (other if len(other) >= _MIN_CHARS else "=" + text).encode("utf-8", "surrogatepass")
        found.append(xxhash.xxh3_64_intdigest(words))
    return found


def _ascii_words(texts: Sequence[str]) -> list[bytes | None]:
    """The words of texts in ASCII with a blank between them, found in passes over all texts together."""
    plain = [text for text in texts if text.isascii()]
    joined = _SEPARATOR.join(plain).encode("latin-1").translate(_ASCII_PUNCTUATION)
    letters = np.frombuffer(joined, np.uint8)
    kept = letters != _BLANK
    kept[1:] |= kept[:-1]  # the first blank behind a word stays
    found = iter(letters[kept].tobytes().split(_SEPARATOR.encode("latin-1")))
    return [next(found).strip() if text.isascii() else None for text in texts]


class Remembered(Generic[AnswerT]):
    """The answers to the last posts, by fingerprint. Not thread-safe.

    Args:
        capacity: the oldest in use are forgotten beyond this.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._answers: OrderedDict[int, tuple[str, AnswerT]] = OrderedDict()

    def find(self, key: int) -> tuple[str, AnswerT] | None:
        """The id of the first post that said this, and its answer."""
        found = self._answers.get(key)
        if found is not None:
            self._answers.move_to_end(key)
        return found

    def keep(self, key: int, post_id: str, answer: AnswerT) -> None:
        """Remember an answer."""
        self._answers[key] = (post_id, answer)
        if len(self._answers) > self._capacity:
            self._answers.popitem(last=False)

    def clear(self) -> None:
        """Forget all, as when the labels change."""
        self._answers.clear()
