"""The classics: Zmap's ridge and vocabulary, Wmap's closed form and exact updates, zero-shot, linear."""

import numpy as np
import pytest

from workers.errors import FatalError
from workers.text.heads.base import Examples, LabelSpace
from workers.text.heads.mixture import softmax
from workers.text.heads.phrases import SHARPNESS, prototypes, unit_rows
from workers.text.heads.registry import create_head, head_names
from workers.text.heads.wmap import PENALTIES, WmapHead
from workers.text.heads.zero_shot import ZeroShotHead
from workers.text.heads.zmap import ZmapHead, fit_zmap, select_words


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def three_labels(seed: int = 1) -> tuple[LabelSpace, Examples]:
    rng = np.random.default_rng(seed)
    phrases = unit(rng.normal(size=(3, 12)))
    labels = np.arange(18) % 3
    rows = unit(phrases[labels] + 0.8 * rng.normal(size=(18, 12)))
    space = LabelSpace(("a", "b", "c"), ("a", "b", "c"), np.arange(3), ("name",) * 3, phrases)
    return space, Examples(rows, labels)


NO_POSTS = np.zeros((0, 12), np.float32)
NO_EXAMPLES = Examples(NO_POSTS, np.zeros(0, np.int64))


def test_zmap_solves_the_ridge_equations() -> None:
    rng = np.random.default_rng(0)
    words, vectors = unit(rng.normal(size=(50, 6))), unit(rng.normal(size=(50, 4)))
    found = fit_zmap(words, vectors, 10.0)
    np.testing.assert_allclose((words.T @ words + 10 * np.eye(6)) @ found, words.T @ vectors, atol=1e-5)


def test_zmap_without_ridge_is_least_squares_even_where_words_are_too_few() -> None:
    rng = np.random.default_rng(0)
    words, vectors = unit(rng.normal(size=(4, 6))), unit(rng.normal(size=(4, 3)))
    np.testing.assert_allclose(words @ fit_zmap(words, vectors, 0.0), vectors, atol=1e-5)


def test_zmap_recovers_a_linear_map_and_labels_through_it() -> None:
    rng = np.random.default_rng(0)
    words = unit(rng.normal(size=(400, 12)))
    rotation = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    space, examples = three_labels()
    mapped = ZmapHead(fit_zmap(words, words @ rotation, 1e-6))
    plain = ZeroShotHead()
    for head in (mapped, plain):
        head.fit(space, NO_EXAMPLES, NO_POSTS)
    np.testing.assert_allclose(
        mapped.predict_proba(examples.embeddings), plain.predict_proba(examples.embeddings), atol=1e-3
    )


def test_vocabulary_leaves_out_numbers_punctuation_stop_words_and_case_variants() -> None:
    words = ["the", ",", "2004", "Oil", "oil", "price", "b2b", "x", "well-known", "PRICE", "goal"]
    assert [words[i] for i in select_words(words)] == ["Oil", "price", "well-known", "goal"]
    assert len(select_words(words, limit=2)) == 2


def test_zmap_refuses_vectors_of_other_words_or_another_model() -> None:
    with pytest.raises(FatalError, match="same words"):
        fit_zmap(np.ones((3, 2)), np.ones((4, 2)), 1.0)
    with pytest.raises(FatalError, match="needs word vectors"):
        create_head("zmap")
    space, _ = three_labels()
    with pytest.raises(FatalError, match="takes vectors of 5"):
        ZmapHead(np.ones((5, 2))).fit(space, NO_EXAMPLES, NO_POSTS)


def test_wmap_without_examples_is_zero_shot() -> None:
    space, examples = three_labels()
    wmap, plain = WmapHead(), ZeroShotHead()
    for head in (wmap, plain):
        head.fit(space, NO_EXAMPLES, NO_POSTS)
    np.testing.assert_allclose(
        wmap.predict_proba(examples.embeddings), plain.predict_proba(examples.embeddings), atol=1e-6
    )


def test_wmap_adds_and_takes_back_examples_exactly() -> None:
    space, examples = three_labels()
    first = Examples(examples.embeddings[:12], examples.labels[:12])
    later = Examples(examples.embeddings[12:], examples.labels[12:])
    head = WmapHead()
    head.fit(space, first, NO_POSTS)
    before = head.predict_proba(examples.embeddings)
    head.add_examples(later)
    after = head.predict_proba(examples.embeddings)
    head.remove_examples(later)
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(head.predict_proba(examples.embeddings), before, atol=1e-6)

    whole = WmapHead()
    whole.fit(space, examples, NO_POSTS)
    if whole.penalty == head.penalty:
        np.testing.assert_allclose(whole.predict_proba(examples.embeddings), after, atol=1e-6)


def test_wmap_leaves_one_out_as_if_fitted_without_it() -> None:
    """The closed form of leaving one out chooses the same λ as fitting once for each example."""
    space, examples = three_labels()
    targets = prototypes(space)
    losses = []
    for penalty in PENALTIES:
        total = 0.0
        for i, (row, label) in enumerate(zip(examples.embeddings, examples.labels, strict=True)):
            rows = np.delete(examples.embeddings, i, axis=0).astype(float)
            wanted = targets[np.delete(examples.labels, i)]
            held = penalty * np.eye(12)
            moved = row @ np.linalg.solve(rows.T @ rows + held, rows.T @ wanted + held)
            total -= np.log(softmax(SHARPNESS * (unit_rows(moved[None]) @ targets.T))[0, label])
        losses.append(total)
    head = WmapHead()
    head.fit(space, examples, NO_POSTS)
    assert PENALTIES[int(np.argmin(losses))] == head.penalty


def test_unknown_head_is_named_with_those_there_are() -> None:
    with pytest.raises(FatalError, match="zero_shot"):
        create_head("magic")
    assert head_names()[0] == "product"
