"""Which posts a label set is for: sources, languages, words. Plain words only, so nothing can explode."""

import re
from collections.abc import Iterable
from typing import Final

from schemas import Filters, Post

_WORD: Final = re.compile(r"\w+|[^\w\s]")
"""Words, and signs and emoji one by one."""


class PostFilter:
    """Takes posts or passes them over. Immutable, so any thread may ask.

    Args:
        filters: what the label set says.
    """

    def __init__(self, filters: Filters) -> None:
        self._sources = frozenset(filters.sources)
        self._languages = frozenset(language.casefold() for language in filters.languages)
        self._words = _Words(filters.words)
        self._without = _Words(filters.without)

    def takes(self, post: Post) -> bool:
        """Whether all that the filter says holds; a fact that the post lacks fails."""
        if self._sources and post.source not in self._sources:
            return False
        if self._languages:
            language = (post.lang or "").casefold().replace("_", "-")
            if language not in self._languages and language.partition("-")[0] not in self._languages:
                return False
        if not (self._words or self._without):
            return True
        words = _WORD.findall(post.text.casefold())
        if self._words and not self._words.stand_in(words):
            return False
        return not (self._without and self._without.stand_in(words))


class _Words:
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

    def stand_in(self, words: list[str]) -> bool:
        if not self._single.isdisjoint(words):
            return True
        if not self._longer:
            return False
        return any(
            tuple(words[at : at + len(phrase)]) == phrase
            for at, word in enumerate(words)
            for phrase in self._longer.get(word, ())
        )
