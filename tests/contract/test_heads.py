"""Every head keeps the contract of workers/text/heads/base.py: named checks over the whole registry."""

import copy
import pickle

import numpy as np
import pytest
from numpy.typing import NDArray

from workers.text.heads.base import Embeddings, Examples, Head, LabelSpace
from workers.text.heads.registry import create_head, head_names
from workers.text.heads.zmap import fit_zmap

WIDTH = 24
NO_POSTS = np.zeros((0, WIDTH), np.float32)
KEEPS_EVERY_LABEL = ("product", "zero_shot")
"""Heads that still give a label without examples beside labels with hundreds; the other classics don't."""

NO_EXAMPLES = Examples(NO_POSTS, np.zeros(0, np.int64))


def unit(rows: NDArray[np.float64]) -> Embeddings:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def make_world(labels: int, seed: int = 0) -> tuple[LabelSpace, Examples, Embeddings, NDArray[np.int64]]:
    """Draw label phrases, examples and posts scattered around a direction of each label."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.normal(size=(labels, WIDTH)))
    truth = rng.integers(0, labels, 300)
    posts = unit(centres[truth] + 0.15 * rng.normal(size=(300, WIDTH)))
    phrases = unit(centres + 0.2 * rng.normal(size=(labels, WIDTH)))
    space = LabelSpace(
        tuple(f"label {i}" for i in range(labels)),
        tuple(f"about {i}" for i in range(labels)),
        np.arange(labels),
        ("description",) * labels,
        phrases,
    )
    return space, Examples(posts[:40], truth[:40]), posts[40:], truth[40:]


def make_head(name: str) -> Head:
    rng = np.random.default_rng(5)
    words = unit(rng.normal(size=(200, WIDTH)))
    return create_head(name, mapping=fit_zmap(words, words @ rng.normal(size=(WIDTH, 30)), 1.0))


@pytest.fixture(params=head_names())
def head(request: pytest.FixtureRequest) -> Head:
    return make_head(request.param)


def check_probabilities(found: NDArray[np.float32], posts: int, labels: int) -> None:
    assert found.shape == (posts, labels)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert (found <= 1).all()
    if labels > 1:
        np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-5)


def test_head_is_registered_under_its_own_name(head: Head) -> None:
    assert head.name in head_names()


@pytest.mark.parametrize("labels", [2, 5])
@pytest.mark.parametrize("posts", [0, 1, 260])
def test_probabilities_are_a_row_a_post_and_sum_to_one(head: Head, labels: int, posts: int) -> None:
    space, examples, unlabelled, _ = make_world(labels)
    head.fit(space, examples, unlabelled)
    check_probabilities(head.predict_proba(unlabelled[:posts]), posts, labels)


def test_separable_labels_are_told_apart(head: Head) -> None:
    space, examples, posts, truth = make_world(4)
    head.fit(space, examples, posts)
    assert (head.predict_proba(posts).argmax(axis=1) == truth).mean() > 0.85


def test_no_example_and_no_post_still_gives_labels(head: Head) -> None:
    space, _, posts, truth = make_world(4)
    head.fit(space, NO_EXAMPLES, NO_POSTS)
    assert (head.predict_proba(posts).argmax(axis=1) == truth).mean() > 0.8


def test_one_label_is_a_filter_that_ranks_its_own_posts_first(head: Head) -> None:
    space, _, posts, truth = make_world(4)
    alone = LabelSpace(
        space.names[:1], space.phrases[:1], np.zeros(1, np.int64), ("name",), space.phrase_embeddings[:1]
    )
    head.fit(alone, NO_EXAMPLES, posts)
    found = head.predict_proba(posts)
    check_probabilities(found, len(posts), 1)
    assert found[truth == 0].mean() > found[truth != 0].mean() + 0.2


def test_one_label_with_examples_works(head: Head) -> None:
    space, examples, posts, _ = make_world(1)
    head.fit(space, examples, posts)
    check_probabilities(head.predict_proba(posts), len(posts), 1)


def test_label_without_examples_can_still_be_given(head: Head) -> None:
    space, examples, posts, truth = make_world(3)
    kept = examples.labels != 2
    head.fit(space, Examples(examples.embeddings[kept], examples.labels[kept]), posts)
    found = head.predict_proba(posts)
    check_probabilities(found, len(posts), 3)
    if head.name in KEEPS_EVERY_LABEL:
        assert (found[truth == 2].argmax(axis=1) == 2).mean() > 0.7


def test_label_with_hundreds_of_examples_does_not_swallow_the_rest(head: Head) -> None:
    space, _, posts, truth = make_world(3)
    many = np.flatnonzero(truth == 0)
    chosen = np.concatenate([np.tile(many, 6), np.flatnonzero(truth == 1)[:2]])
    head.fit(space, Examples(posts[chosen], truth[chosen]), posts)
    found = head.predict_proba(posts)
    check_probabilities(found, len(posts), 3)
    if head.name in KEEPS_EVERY_LABEL:
        assert (found.argmax(axis=1) == truth).mean() > 0.8


def test_label_without_any_phrase_is_no_error(head: Head) -> None:
    space, examples, posts, _ = make_world(3)
    bare = LabelSpace(
        space.names, space.phrases[:2], np.arange(2), ("name",) * 2, space.phrase_embeddings[:2]
    )
    head.fit(bare, examples, posts)
    check_probabilities(head.predict_proba(posts), len(posts), 3)


def test_contradictory_examples_are_no_error(head: Head) -> None:
    space, _, posts, _ = make_world(2)
    same = np.repeat(posts[:5], 2, axis=0)
    head.fit(space, Examples(same, np.tile([0, 1], 5)), posts)
    check_probabilities(head.predict_proba(posts), len(posts), 2)


def test_two_labels_alike_share_the_probability(head: Head) -> None:
    space, _, posts, _ = make_world(3)
    vectors = space.phrase_embeddings.copy()
    vectors[1] = vectors[0]
    twin = LabelSpace(space.names, space.phrases, space.phrase_labels, space.phrase_kinds, vectors)
    head.fit(twin, NO_EXAMPLES, posts)
    found = head.predict_proba(posts)
    np.testing.assert_allclose(found[:, 0], found[:, 1], atol=0.02)


def test_examples_of_none_of_the_labels_are_no_error(head: Head) -> None:
    space, examples, posts, _ = make_world(3)
    labels = examples.labels.copy()
    labels[::4] = -1
    head.fit(space, Examples(examples.embeddings, labels), posts)
    check_probabilities(head.predict_proba(posts), len(posts), 3)


def test_all_posts_the_same_is_no_error(head: Head) -> None:
    space, _, posts, _ = make_world(3)
    head.fit(space, NO_EXAMPLES, np.repeat(posts[:1], 50, axis=0))
    check_probabilities(head.predict_proba(posts), len(posts), 3)


def test_fitting_twice_gives_the_same(head: Head) -> None:
    space, examples, posts, _ = make_world(4)
    head.fit(space, examples, posts)
    first = head.predict_proba(posts)
    other, more, seen, _ = make_world(3, seed=9)
    head.fit(other, more, seen)
    head.fit(space, examples, posts)
    np.testing.assert_array_equal(first, head.predict_proba(posts))


def test_probabilities_do_not_depend_on_the_batch(head: Head) -> None:
    space, examples, posts, _ = make_world(4)
    head.fit(space, examples, posts)
    whole = head.predict_proba(posts)
    np.testing.assert_allclose(whole[7:8], head.predict_proba(posts[7:8]), atol=1e-6)


def test_inputs_are_left_as_they_were(head: Head) -> None:
    space, examples, posts, _ = make_world(4)
    before = copy.deepcopy((space.phrase_embeddings, examples.embeddings, examples.labels, posts))
    head.fit(space, examples, posts)
    head.predict_proba(posts)
    for old, new in zip(
        before, (space.phrase_embeddings, examples.embeddings, examples.labels, posts), strict=True
    ):
        np.testing.assert_array_equal(old, new)


def test_head_survives_pickling(head: Head) -> None:
    space, examples, posts, _ = make_world(3)
    head.fit(space, examples, posts)
    np.testing.assert_array_equal(
        head.predict_proba(posts), pickle.loads(pickle.dumps(head)).predict_proba(posts)
    )


def widen(rows: Embeddings, truth: NDArray[np.int64] | None = None, seed: int = 9) -> Embeddings:
    """Put middle layers' rows beside embeddings, around one direction, by label where `truth` is given."""
    rng = np.random.default_rng(seed)
    common, centres = rng.normal(size=WIDTH), np.random.default_rng(0).normal(size=(9, WIDTH))
    middle = 3.0 * common + rng.normal(size=rows.shape)
    if truth is not None:
        middle += 1.5 * centres[truth]
    return np.concatenate([rows, unit(middle)], axis=1)


@pytest.mark.parametrize("labels", [1, 3])
@pytest.mark.parametrize("posts", [0, 260])
def test_wide_rows_of_examples_and_posts_are_taken(head: Head, labels: int, posts: int) -> None:
    space, examples, unlabelled, _ = make_world(labels)
    wide = widen(unlabelled)
    head.fit(space, Examples(widen(examples.embeddings), examples.labels), wide[:posts])
    check_probabilities(head.predict_proba(wide), len(wide), labels)
    check_probabilities(head.predict_proba(unlabelled), len(wide), labels)


def test_a_head_without_use_for_the_middle_layers_leaves_them_aside(head: Head) -> None:
    space, examples, posts, _ = make_world(3)
    if head.name == "product":
        pytest.skip("it has use for them")
    head.fit(space, examples, posts)
    plain = head.predict_proba(posts)
    head.fit(space, Examples(widen(examples.embeddings), examples.labels), widen(posts))
    np.testing.assert_array_equal(plain, head.predict_proba(widen(posts)))


def test_examples_teach_the_default_head_what_only_the_middle_layers_know() -> None:
    space, _, posts, truth = make_world(3)
    rng = np.random.default_rng(3)
    blurred = unit(posts + 0.6 * rng.normal(size=posts.shape))
    shown = widen(blurred, truth)
    known = Examples(shown[:60], truth[:60])
    plain, wide = create_head(), create_head()
    plain.fit(space, Examples(blurred[:60], truth[:60]), blurred)
    wide.fit(space, known, shown)
    right = [
        (head.predict_proba(rows)[60:].argmax(axis=1) == truth[60:]).mean()
        for head, rows in ((plain, blurred), (wide, shown))
    ]
    assert right[1] > right[0] + 0.05
