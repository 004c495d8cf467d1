"""How far labels are adapted to a stream, and what is expected of them, follows from how clear they are."""

import numpy as np
import pytest

from workers.text.heads.adaptation import LOOSE, TIGHT
from workers.text.heads.base import Examples, LabelSpace
from workers.text.heads.phrases import unit_rows
from workers.text.heads.product import ProductHead

WIDTH = 32


def labels(rows) -> LabelSpace:
    names = tuple(f"label {i}" for i in range(len(rows)))
    kinds = ("description",) * len(rows)
    return LabelSpace(names, names, np.arange(len(rows)), kinds, unit_rows(rows).astype(np.float32))


def crowd(rng, centre, count: int, spread: float):
    """Posts around a centre, at an angle that `spread` gives."""
    return unit_rows(centre + spread * rng.normal(size=(count, WIDTH))).astype(np.float32)


def fit(space: LabelSpace, stream) -> ProductHead:
    head = ProductHead()
    head.fit(space, Examples(stream[:0], np.zeros(0, np.int64)), stream)
    return head


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_labels_that_posts_gather_around_are_anchored_loosely_and_given_surely(rng):
    axes = np.eye(WIDTH)[:3]
    stream = np.concatenate([crowd(rng, axis, 100, 0.08) for axis in axes])
    head = fit(labels(axes), stream)
    assert head.adaptation is not None
    assert head.adaptation.anchor == LOOSE
    assert head.adaptation.accuracy > 0.9
    assert head.predict_proba(stream).max(axis=1).mean() > 0.85


def test_labels_that_lie_across_what_posts_gather_around_are_held_tightly_and_given_less_surely(rng):
    axes = np.eye(WIDTH)
    across = np.stack([axes[10], axes[11], axes[12]]) + 0.1 * axes[0]
    stream = np.concatenate([crowd(rng, axis, 100, 0.12) for axis in axes[:6]])
    head = fit(labels(across), stream)
    assert head.adaptation is not None
    assert head.adaptation.anchor == TIGHT
    assert head.adaptation.accuracy < 0.8
    assert head.predict_proba(stream).max(axis=1).mean() < 0.85


def test_a_label_that_attracts_every_post_gives_way_in_part(rng):
    axes = np.eye(WIDTH)
    both = np.stack([axes[0] + 0.5 * axes[5], axes[1]])  # the first label lies near what all posts share
    posts = np.concatenate([crowd(rng, 0.4 * axes[i] + axes[5], 60, 0.1) for i in (0, 1)])
    plain = (posts @ unit_rows(both).T).argmax(axis=1)
    ours = fit(labels(both), posts).predict_proba(posts).argmax(axis=1)
    truth = np.repeat([0, 1], 60)
    assert (ours == truth).mean() > (plain == truth).mean()
