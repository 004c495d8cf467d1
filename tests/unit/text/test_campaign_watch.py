"""A campaign's watch sees what a lane said, counts no text twice, and says what it found once."""

import numpy as np

from config import DriftSettings
from workers.text.campaign_watch import MAX_KNOWN, SAMPLE, CampaignWatch, known_of
from workers.text.heads.base import Examples, LabelSpace
from workers.text.lane import Fitted, Prediction

DIMENSIONS = 16
KNOWN = np.eye(3, DIMENSIONS, dtype=np.float32)


class Clock:
    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        self.at += 1.0
        return self.at


def prediction(random: np.random.Generator, shares, size: int = 100) -> Prediction:
    labels = random.choice(3, size, p=shares)
    probabilities = np.full((size, 3), 0.1, np.float32)
    probabilities[np.arange(size), labels] = 0.8
    rows = KNOWN[labels] + 0.2 * random.normal(size=(size, DIMENSIONS)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return Prediction(probabilities, rows, {})


def fitted(examples: int) -> Fitted:
    space = LabelSpace(("a", "b", "c"), ("a", "b", "c"), np.arange(3), ("name",) * 3, KNOWN, KNOWN)
    rows = np.tile(KNOWN, (examples, 1))[:examples]
    return Fitted(space, Examples(rows, np.zeros(examples, np.int64)), KNOWN[:0], None)


def watch() -> CampaignWatch:
    return CampaignWatch("abc", KNOWN, DriftSettings(block_s=0), Clock())


def test_a_change_of_labels_is_found_and_taken_once():
    random, found = np.random.default_rng(0), watch()
    for _ in range(40):
        found.see(prediction(random, (0.4, 0.3, 0.3)), np.ones(100, bool))
    assert found.take() == []
    for _ in range(10):
        found.see(prediction(random, (0.9, 0.05, 0.05)), np.ones(100, bool))
    (drift,) = found.take()
    assert drift.label == "a"
    assert found.take() == []


def test_novelty_is_the_distance_to_the_nearest_thing_known():
    found = watch()
    row = np.zeros((1, DIMENSIONS), np.float32)
    row[0, 0] = 0.6
    row[0, 9] = 0.8
    found.see(Prediction(np.array([[0.5, 0.3, 0.2]], np.float32), row, {}), np.array([True]))
    assert found.reading().novelty == 0.4


def test_a_large_batch_is_sampled_evenly():
    random, found = np.random.default_rng(1), watch()
    found.see(prediction(random, (0.4, 0.3, 0.3), 10 * SAMPLE + 7), np.zeros(10 * SAMPLE + 7, bool))
    blocks = found._monitor._recent
    assert len(blocks) == SAMPLE // 100
    assert all(block.posts == 100 for block in blocks)
    assert all(block.levels[1] == 1.0 for block in blocks)  # none of them got a label


def test_what_is_known_is_bounded():
    assert len(known_of(fitted(10))) == 13
    assert len(known_of(fitted(10_000))) == MAX_KNOWN
