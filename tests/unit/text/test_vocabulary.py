"""Texts to rows of word vectors: a word's own, a rare word's pieces, none for what is unknown."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from workers.text import vocabulary
from workers.text.models import RidgeMap, WordVectors

WORDS = ["flood", "river", "straße", "##ing", "##s"]


class Pieces:
    """Splits words as a sentence model's tokenizer does, and counts how many it was asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def pieces(self, words: Sequence[str]) -> list[list[str]]:
        self.asked += len(words)
        return [
            ["flood", "##ing"] if word == "flooding" else ["river", "##s"] if word == "rivers" else ["[UNK]"]
            for word in words
        ]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Pieces]:
    count = len(WORDS)
    square, row = np.eye(4, dtype=np.float32), np.zeros(4, np.float32)
    held = WordVectors(
        WORDS, np.zeros((count, 4), np.float32), np.ones(count, np.float32), RidgeMap(row, square, row)
    )
    monkeypatch.setattr(vocabulary, "load_word_vectors", lambda encoder: held)
    pieces = Pieces()
    return vocabulary.Vocabulary(pieces), pieces  # type: ignore[arg-type]


def rows(made: tuple[Any, Pieces], *texts: str) -> list[list[int]]:
    return [ids.tolist() for ids in made[0].tokenise(texts)]


def test_a_known_word_has_its_row_a_rare_one_its_pieces_and_an_unknown_one_none(made) -> None:
    assert rows(made, "Flood! RIVER, straße", "flooding rivers", "xyzzy", "", "flood flood") == [
        [0, 1, 2],
        [0, 3, 1, 4],
        [],
        [],
        [0, 0],
    ]


def test_pieces_are_no_words(made) -> None:
    assert rows(made, "ing s ##ing") == [[]]


def test_a_rare_word_is_looked_up_once(made) -> None:
    for _ in range(3):
        rows(made, "flooding rivers flooding", "flooding")
    assert made[1].asked == 2


def test_when_its_memory_is_full_it_begins_anew_and_reads_the_same(made) -> None:
    for first in range(0, 100_000, 1_000):
        rows(made, " ".join(f"w{first + n}" for n in range(1_000)))
        assert rows(made, "a flood of flooding rivers") == [[0, 0, 3, 1, 4]]
    assert len(made[0]._known) < 70_000


def test_counts_have_a_row_for_each_text(made) -> None:
    words = made[0]
    counts = words.counts(words.tokenise(["flood river flood", "", "rivers"]))
    assert counts.toarray().tolist() == [[2, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, 0, 0, 1]]
    assert words.counts([]).shape == (0, 5)
