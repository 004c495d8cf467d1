"""Which posts a label set is for: sources, languages, words. Plain words only, so nothing can explode."""

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from schemas import Filters, Post

_WORD: Final = re.compile(r"\w+|[^\w\s]")
"""Words, and signs and emoji one by one."""


class Words(NamedTuple):
    """The words of a text, found once for all filters.

    Attributes:
        sequence: in order.
        known: the same, each once.
    """

    sequence: tuple[str, ...]
    known: frozenset[str]


def words_of(text: str) -> Words:
    """Find the words of a text, without regard to case; signs and emoji one by one."""
    sequence = tuple(_WORD.findall(text.casefold()))
    return Words(sequence, frozenset(sequence))


class PostFilter:
    """Takes posts or passes them over. Immutable, so any thread may ask.

    Args:
        filters: what the label set says.
    """

    def __init__(self, filters: Filters) -> None:
        self._sources = frozenset(filters.sources)
        self._languages = frozenset(language.casefold() for language in filters.languages)
        self._words = _Phrases(filters.words)
        self._without = _Phrases(filters.without)

    @property
    def needs_words(self) -> bool:
        """Whether it looks at the text."""
        return bool(self._words or self._without)

    def takes(self, post: Post, words: Words | None = None) -> bool:
        """Whether all that the filter says holds; a fact that the post lacks fails.

        Args:
            post: the post.
            words: of its text, where they were found already.
        """
        if self._sources and post.source not in self._sources:
            return False
        if self._languages:
            language = (post.lang or "").casefold().replace("_", "-")
            if language not in self._languages and language.partition("-")[0] not in self._languages:
                return False
        if not (self._words or self._without):
            return True
        words = words or words_of(post.text)
        if self._words and not self._words.stand_in(words):
            return False
        return not (self._without and self._without.stand_in(words))


class _Phrases:
    """Words and phrases, found whole in a text's words: a set for words, and for phrases their first word."""

    def __init__(self, phrases: Iterable[str]) -> None:
        split = [tuple(_WORD.findall(phrase.casefold())) for phrase in phrases]
        self._single = frozenset(words[0] for words in split if len(words) == 1)
        self._longer: dict[str, list[tuple[str, ...]]] = {}
        for words in split:
            if len(words) > 1:
                self._longer.setdefault(words[0], []).append(words)

    def __bool__(self) -> bool:
        return bool(self._single or self._longer)

    def stand_in(self, words: Words) -> bool:
        if not self._single.isdisjoint(words.known):
            return True
        if self._longer.keys().isdisjoint(words.known):
            return False
        return any(
            words.sequence[at : at + len(phrase)] == phrase
            for at, word in enumerate(words.sequence)
            for phrase in self._longer.get(word, ())
        )


def places_for(filters: Sequence[PostFilter | None], posts: Sequence[Post]) -> list[list[int] | None]:
    """Places of the posts that each filter takes; None, for no filter, is all of them.

    The words of a text are found once, however many filters look at them.
    """
    looks = any(one is not None and one.needs_words for one in filters)
    words = [words_of(post.text) if looks else None for post in posts]
    return [
        None if one is None else [place for place, post in enumerate(posts) if one.takes(post, words[place])]
        for one in filters
    ]
