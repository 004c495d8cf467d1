"""Words and fingerprints are found for a batch in passes over its letters, and are what Python finds."""

import string
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import xxhash
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workers.text import duplicates, word_keys

TEXTS = st.text(st.characters(max_codepoint=127), max_size=60) | st.text(max_size=60)


def said_the_long_way(text: str) -> int:
    said = text.casefold()
    if "@" in said or "http" in said:
        said = duplicates._ADDRESSES.sub(" ", said)
    said = " ".join(said.translate(duplicates._PUNCTUATION).split())
    if len(said) < duplicates._MIN_CHARS:
        said = "=" + text
    return xxhash.xxh3_64_intdigest(said.encode("utf-8", "surrogatepass"))


def words_the_long_way(text: str) -> list[str]:
    return word_keys._WORD.findall(text.lower())[: word_keys.MAX_WORDS]


def spelt(texts: Sequence[str]) -> list[list[str]]:
    found = word_keys.find_words(texts)
    words = [found.spell(word, 100_000) for word in range(len(found.keys))]
    return [words[start:end] for start, end in pairwise([0, *found.ends])]


@settings(max_examples=500, deadline=None)
@given(st.lists(TEXTS, max_size=4))
@example([])
@example(["RT @someone: Ferries stay in port! https://x.y/z?a=b#c", ""])
@example(["a\x1cb\x1dc\x1ed\x1fe\x85f\u2028g hijklmno", " ", "\x80 separated \x80"])
@example([string.printable])
@example(["\u212aELVIN and STRASSE, straße, İstanbul", "plain, in the same batch"])
def test_a_batch_says_what_its_texts_say(texts: list[str]) -> None:
    assert duplicates.fingerprints(texts) == [said_the_long_way(text) for text in texts]
    assert spelt(texts) == [words_the_long_way(text) for text in texts]


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_words_have_one_key_exactly_where_they_are_the_same(texts: list[str]) -> None:
    words = [word for text in texts for word in words_the_long_way(text)]
    keys = word_keys.find_words(texts).keys.tolist()
    assert keys == [word_keys.find_words([word]).keys.item() for word in words]
    assert len(set(keys)) == len(set(words))


def test_a_long_text_is_read_up_to_a_limit() -> None:
    for word in ("w", "wörd"):
        text = " ".join([word] * (word_keys.MAX_WORDS + 50))
        found = word_keys.find_words(["before", text, "after"])
        assert np.diff(found.ends, prepend=0).tolist() == [1, word_keys.MAX_WORDS, 1]


def test_neighbours_are_looked_at_together_up_to_a_size() -> None:
    texts = ["x" * (word_keys.CHUNK_CHARS // 2)] * 5 + [""]
    assert [texts[chunk] for chunk in word_keys.chunks(texts)] == [texts[:2], texts[2:4], texts[4:]]
    assert list(word_keys.chunks([])) == []
