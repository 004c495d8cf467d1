"""Labels by themselves, none of these, abstention and calibration."""

import numpy as np
import pytest

from schemas import Abstain
from workers.text.heads.abstain import NEVER, choose_threshold
from workers.text.heads.base import Examples, LabelSpace
from workers.text.heads.calibration import expected_calibration_error, fit_temperature
from workers.text.heads.independent import IndependentHead
from workers.text.heads.level import fit_level
from workers.text.heads.mixture import softmax
from workers.text.heads.registry import create_head

WIDTH = 64
NO_EXAMPLES = Examples(np.zeros((0, WIDTH), np.float32), np.zeros(0, np.int64))


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def topics(topic_count: int, named: int, seed: int = 0) -> tuple[LabelSpace, np.ndarray, np.ndarray]:
    """Draw posts about several topics, the first few of them labels; phrases lie at cosine ~0.3."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.normal(size=(topic_count, WIDTH)))
    truth = rng.integers(0, topic_count, 600)
    posts = unit(0.6 * centres[truth] + unit(rng.normal(size=(600, WIDTH))))
    phrases = unit(0.6 * centres[:named] + unit(rng.normal(size=(named, WIDTH))))
    names = tuple(f"t{i}" for i in range(named))
    return LabelSpace(names, names, np.arange(named), ("name",) * named, phrases), posts, truth


def test_level_lies_between_two_bells_and_rises() -> None:
    rng = np.random.default_rng(0)
    similarities = np.concatenate([rng.normal(0.04, 0.05, 700), rng.normal(0.3, 0.05, 300)])
    level = fit_level(similarities, np.full(1000, np.nan))
    assert level.slope > 0
    assert 0.1 < level.middle < 0.25


def test_level_without_posts_is_the_usual_one() -> None:
    level = fit_level(np.zeros(0), np.zeros(0))
    assert level.probability(np.array([0.3]))[0] > 0.8
    assert level.probability(np.array([0.0]))[0] < 0.2


def test_independent_labels_can_hold_together() -> None:
    space, posts, truth = topics(4, 2)
    both = unit(space.phrase_embeddings[:1] + space.phrase_embeddings[1:2])
    head = IndependentHead()
    head.fit(space, NO_EXAMPLES, posts[:0])
    assert (head.predict_proba(both) > 0.5).all()
    assert (head.predict_proba(posts[truth == 3]).mean(axis=0) < 0.5).all()


def test_an_example_of_two_labels_is_a_counterexample_of_neither() -> None:
    space, posts, truth = topics(4, 2)
    twice = np.flatnonzero(truth == 0)[:6]
    rest = np.flatnonzero(truth == 3)[:6]
    rows = np.concatenate([posts[twice], posts[twice], posts[rest]])
    labels = np.array([0] * 6 + [1] * 6 + [-1] * 6)
    head = IndependentHead()
    head.fit(space, Examples(rows, labels), posts)
    found = head.predict_proba(posts)
    assert (found[truth == 0] > found[truth == 3].mean(axis=0)).mean() > 0.8


def test_posts_about_something_else_are_none_of_these() -> None:
    space, posts, truth = topics(6, 3)
    head = create_head(none_of_these=True)
    head.fit(space, NO_EXAMPLES, posts)
    found = head.predict_proba(posts)
    none = 1.0 - found.sum(axis=1)
    assert none[truth >= 3].mean() > none[truth < 3].mean() + 0.3
    assert found.sum(axis=1).max() <= 1.0 + 1e-6


def test_where_every_post_fits_hardly_one_is_none_of_these() -> None:
    space, posts, _ = topics(3, 3)
    head = create_head(none_of_these=True)
    head.fit(space, NO_EXAMPLES, posts)
    assert (head.predict_proba(posts).sum(axis=1) > 0.5).mean() > 0.9


def test_multi_label_is_independent_whatever_the_head() -> None:
    assert create_head("product", multi_label=True).name == "independent"


def test_no_rule_and_a_threshold_are_taken_as_they_are() -> None:
    sure = np.linspace(0, 1, 11, dtype=np.float32)
    assert choose_threshold(None, sure) == 0.0
    assert choose_threshold(Abstain(threshold=0.7), sure) == 0.7


def test_coverage_labels_the_surest_share() -> None:
    sure = np.linspace(0, 1, 101, dtype=np.float32)
    threshold = choose_threshold(Abstain(coverage=0.3), sure)
    assert (sure >= threshold).mean() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("asked", [0.8, 0.9, 0.95])
def test_precision_asked_is_precision_got_where_probabilities_are_honest(asked: float) -> None:
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.3, 1.0, 5000).astype(np.float32)
    right = rng.uniform(size=5000) < sure
    threshold = choose_threshold(Abstain(precision=asked), sure[:2500])
    given = sure[2500:] >= threshold
    assert right[2500:][given].mean() == pytest.approx(asked, abs=0.02)


def test_validated_examples_correct_probabilities_that_promise_too_much() -> None:
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.3, 1.0, 2000).astype(np.float32)
    right = rng.uniform(size=2000) < sure - 0.15
    without = choose_threshold(Abstain(precision=0.8), sure)
    corrected = choose_threshold(Abstain(precision=0.8), sure, sure, right)
    assert corrected > without


def test_a_precision_that_cannot_be_had_is_never_promised() -> None:
    assert choose_threshold(Abstain(precision=0.9), np.full(50, 0.4, np.float32)) == NEVER


def test_temperature_makes_overconfident_scores_honest() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(4000, 4))
    labels = np.array([rng.choice(4, p=row) for row in softmax(scores)])
    factor = fit_temperature(5.0 * scores, labels)
    assert factor == pytest.approx(0.2, rel=0.15)
    assert expected_calibration_error(softmax(factor * 5.0 * scores), labels) < 0.03
    assert expected_calibration_error(softmax(5.0 * scores), labels) > 0.2
