"""What phrases and few examples make of a linear head."""

from collections.abc import Sequence

import numpy as np

from workers.text.heads.base import Embeddings, LabelSpace, PhraseKind
from workers.text.heads.few_shot import blend_prototypes, fit_linear
from workers.text.heads.mixture import LinearScores
from workers.text.heads.phrases import SHARPNESS, frame, framed_prototypes, prototypes, unit_rows


def letters(texts: Sequence[str]) -> Embeddings:
    """Embed texts by how often each letter stands in them."""
    rows = np.array([[text.lower().count(chr(97 + i)) for i in range(26)] for text in texts], np.float64)
    return unit_rows(rows).astype(np.float32)


def test_phrases_are_embedded_in_sentences() -> None:
    found = frame(letters, ["zzz", "qqq"])
    assert (found * letters(["zzz", "qqq"])).sum(axis=1).max() < 0.95
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-6)


def test_full_stop_of_a_description_is_not_doubled() -> None:
    seen: list[str] = []

    def encode(texts: Sequence[str]) -> Embeddings:
        seen.extend(texts)
        return letters(texts)

    frame(encode, ["About zebras."])
    assert "This text is about About zebras." in seen


def test_prototypes_are_of_the_framed_phrases_where_there_are_any() -> None:
    plain, framed = letters(["aaa", "bbb"]), letters(["abc", "bcd"])
    kinds: tuple[PhraseKind, ...] = ("description", "description")
    bare = LabelSpace(("a", "b"), ("aaa", "bbb"), np.arange(2), kinds, plain)
    np.testing.assert_allclose(framed_prototypes(bare), prototypes(bare))
    both = LabelSpace(("a", "b"), ("aaa", "bbb"), np.arange(2), kinds, plain, framed)
    np.testing.assert_allclose(framed_prototypes(both), framed, atol=1e-6)


def test_no_example_leaves_the_phrases_in_force() -> None:
    prior = LinearScores(SHARPNESS * unit_rows(np.random.default_rng(0).normal(size=(3, 8))), np.zeros(3))
    found = fit_linear(prior, np.zeros((0, 8), np.float32), np.zeros(0, np.int64), None)
    np.testing.assert_array_equal(found.weights, prior.weights)


def test_prototypes_change_nothing_at_the_centre_however_uneven_the_examples() -> None:
    rng = np.random.default_rng(0)
    prior = LinearScores(SHARPNESS * unit_rows(rng.normal(size=(3, 8))), np.zeros(3))
    rows = unit_rows(rng.normal(size=(52, 8)) + 1.0).astype(np.float32)
    labels = np.array([0] * 50 + [1] * 2)
    centre = rows.mean(axis=0, dtype=np.float64)
    linear = fit_linear(prior, rows, labels, centre)
    found = blend_prototypes(linear, prior, rows, labels, centre)
    np.testing.assert_allclose(found.score(centre[None]), linear.score(centre[None]), atol=1e-9)


def test_label_without_an_example_keeps_its_phrases_direction() -> None:
    rng = np.random.default_rng(1)
    prior = LinearScores(SHARPNESS * unit_rows(rng.normal(size=(3, 8))), np.zeros(3))
    rows = unit_rows(rng.normal(size=(6, 8))).astype(np.float32)
    labels = np.array([0, 0, 0, 1, 1, 1])
    centre = rows.mean(axis=0, dtype=np.float64)
    found = blend_prototypes(fit_linear(prior, rows, labels, centre), prior, rows, labels, centre)
    np.testing.assert_allclose(found.weights[2], prior.weights[2], atol=1e-9)
