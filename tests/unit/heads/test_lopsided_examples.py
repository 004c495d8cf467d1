"""Many examples of one label and none of the others leave the others their posts."""

import numpy as np

from workers.text.heads.base import Embeddings, Examples, LabelSpace
from workers.text.heads.phrases import unit_rows
from workers.text.heads.product import ProductHead, stands_for_stream

LABELS = 3
DIMENSIONS = 16


def around(centres: np.ndarray, count: int, seed: int) -> tuple[Embeddings, np.ndarray]:
    """Posts about centres, `count` each."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(centres)), count)
    rows = centres[labels] + rng.normal(0, 0.12, (len(labels), DIMENSIONS))
    return unit_rows(rows).astype(np.float32), labels


def test_five_hundred_examples_of_one_label_do_not_swallow_the_rest() -> None:
    centres = np.eye(LABELS, DIMENSIONS) + 0.5
    phrases = unit_rows(centres).astype(np.float32)
    space = LabelSpace(("a", "b", "c"), ("a", "b", "c"), np.arange(LABELS), ("name",) * LABELS, phrases)
    posts, truth = around(centres, 100, seed=1)
    nothing = np.zeros((0, DIMENSIONS), np.float32)

    def right(examples: Examples) -> float:
        head = ProductHead()
        head.fit(space, examples, nothing)
        return float((head.predict_proba(posts).argmax(axis=1) == truth).mean())

    many, _ = around(centres[:1], 500, seed=2)
    zero_shot = right(Examples(nothing, np.zeros(0, np.int64)))
    assert right(Examples(many, np.zeros(500, np.int64))) >= zero_shot - 0.02


def test_examples_stand_for_a_stream_only_where_every_label_has_its_share() -> None:
    even = np.repeat(np.arange(3), 100)
    assert stands_for_stream(even, 3)
    assert not stands_for_stream(even[:150], 3)
    assert not stands_for_stream(np.zeros(500, np.int64), 3)
    assert not stands_for_stream(np.concatenate([even, np.full(900, 2)]), 4)
