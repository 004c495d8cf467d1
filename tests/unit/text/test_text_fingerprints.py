"""Words and fingerprints of plain ASCII are found by a shorter way, and are the same."""

import string

import xxhash
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workers.text import duplicates, vocabulary

TEXTS = st.text(st.characters(max_codepoint=127), max_size=60) | st.text(max_size=60)


def the_long_way(text: str) -> int:
    said = text.casefold()
    if "@" in said or "http" in said:
        said = duplicates._ADDRESSES.sub(" ", said)
    said = " ".join(said.translate(duplicates._PUNCTUATION).split())
    if len(said) < duplicates._MIN_CHARS:
        said = "=" + text
    return xxhash.xxh3_64_intdigest(said.encode("utf-8", "surrogatepass"))


@settings(max_examples=500, deadline=None)
@given(TEXTS)
@example("RT @someone: Ferries stay in port! https://x.y/z?a=b#c")
@example("a\x1cb\x1dc\x1ed\x1fe\x85f\u2028g hijklmno")
@example(string.printable)
@example("\u212aELVIN and STRASSE, straße, İstanbul")
def test_the_shorter_way_finds_the_same(text: str) -> None:
    assert duplicates.fingerprint(text) == the_long_way(text)
    assert vocabulary._words(text) == vocabulary._WORD.findall(text.lower())
