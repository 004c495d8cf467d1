"""A drift is told once, with what moved and since when; a stream that stays what it was is left alone."""

from collections.abc import Iterator

import numpy as np
import pytest

from config import DriftSettings
from workers.text.drift import Drift, DriftMonitor
from workers.text.drift_windows import Block, Reference, jensen_shannon

LABELS = ("flood", "fire", "sports", "music")
EVEN = (0.25, 0.25, 0.25, 0.25)
SETTINGS = DriftSettings(block_s=0)
BATCH = 50


class Stream:
    """Draws posts: labels by their shares, embeddings about a mean for each label."""

    def __init__(self, seed: int, dimensions: int = 24) -> None:
        self.random = np.random.default_rng(seed)
        self.means = self.random.normal(size=(len(LABELS), dimensions))
        self.at = 0.0

    def batch(self, shares=EVEN, *, confidence=0.7, abstained=0.05, novelty=0.5, size=BATCH):
        labels = self.random.choice(len(LABELS), size, p=shares)
        rows = self.means[labels] + 2 * self.random.normal(size=(size, self.means.shape[1]))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        given = np.where(self.random.random(size) < abstained, -1, labels)
        sure = np.clip(self.random.normal(confidence, 0.15, size), 0, 1).astype(np.float32)
        new = np.clip(self.random.normal(novelty, 0.1, size), 0, 2).astype(np.float32)
        self.at += 10.0
        return given, sure, new, rows.mean(axis=0).astype(np.float32), self.at

    def feed(self, monitor: DriftMonitor, posts: int, **how) -> list[tuple[int, Drift]]:
        """Drifts told, each with the posts since this call."""
        return list(self._told(monitor, posts, how))

    def _told(self, monitor: DriftMonitor, posts: int, how: dict) -> Iterator[tuple[int, Drift]]:
        for done in range(BATCH, posts + 1, BATCH):
            drift = monitor.observe(*self.batch(**how))
            if drift is not None:
                yield done, drift


def test_no_alarm_in_half_a_million_posts_of_streams_that_stay_what_they_were():
    """0 in 500,000 posts: with 95 % confidence, less than one in 160,000."""
    told = []
    for seed in range(20):
        monitor = DriftMonitor(LABELS, SETTINGS)
        told += Stream(seed).feed(monitor, 25_000, shares=(0.6, 0.25, 0.1, 0.05))
    assert told == []


@pytest.mark.parametrize(
    ("how", "signal"),
    [
        ({"shares": (0.55, 0.15, 0.15, 0.15)}, "shares"),
        ({"confidence": 0.55}, "confidence"),
        ({"abstained": 0.35}, "abstained"),
        ({"novelty": 0.62}, "novelty"),
    ],
)
def test_a_change_is_told_within_six_hundred_posts_and_names_what_moved(how, signal):
    for seed in range(10):
        stream, monitor = Stream(seed), DriftMonitor(LABELS, SETTINGS)
        assert stream.feed(monitor, 5_000) == []
        began = stream.at
        told = stream.feed(monitor, 3_000, **how)
        assert len(told) == 1
        delay, drift = told[0]
        assert delay <= 600
        assert signal in drift.effects
        assert abs(drift.since - began) <= 30 * 10  # batches, of 10 s each
        assert drift.posts <= delay + 300


def test_texts_on_another_topic_are_told_though_labels_stay():
    stream, monitor = Stream(1), DriftMonitor(LABELS, SETTINGS)
    stream.feed(monitor, 5_000)
    stream.means = np.random.default_rng(99).normal(size=stream.means.shape)
    ((_, drift),) = stream.feed(monitor, 3_000)
    assert list(drift.effects) == ["embedding"]
    assert drift.effects["embedding"] > 0.2


def test_the_line_says_which_label_and_since_when():
    stream, monitor = Stream(2), DriftMonitor(LABELS, SETTINGS)
    stream.feed(monitor, 5_000)
    ((_, drift),) = stream.feed(monitor, 1_000, shares=(0.7, 0.1, 0.1, 0.1))
    assert drift.detail.startswith("drift since 00:16:50 UTC (")
    assert "label shares 0." in drift.detail
    assert "(flood 2" in drift.detail
    assert drift.facts["label"] == "flood"
    assert drift.facts["label_after"] > 0.6
    assert drift.facts["since"] == "1970-01-01T00:16:50+00:00"


def test_the_new_normal_is_not_told_again_and_a_further_change_is():
    stream, monitor = Stream(3), DriftMonitor(LABELS, SETTINGS.model_copy(update={"cooldown_s": 60.0}))
    stream.feed(monitor, 5_000)
    first = stream.feed(monitor, 10_000, shares=(0.7, 0.1, 0.1, 0.1))
    second = stream.feed(monitor, 5_000, shares=(0.1, 0.7, 0.1, 0.1))
    assert len(first) == len(second) == 1
    assert second[0][1].label in ("flood", "fire")


def test_the_same_signal_is_quiet_during_the_cool_down():
    stream, monitor = Stream(4), DriftMonitor(LABELS, SETTINGS.model_copy(update={"cooldown_s": 1e6}))
    stream.feed(monitor, 5_000)
    assert len(stream.feed(monitor, 5_000, confidence=0.5)) == 1
    assert stream.feed(monitor, 5_000, confidence=0.7) == []
    told = stream.feed(monitor, 3_000, abstained=0.5)
    assert [list(drift.effects) for _, drift in told] == [["abstained"]]


def test_one_odd_block_is_no_drift():
    stream, monitor = Stream(5), DriftMonitor(LABELS, SETTINGS)
    stream.feed(monitor, 5_000)
    told = stream.feed(monitor, 100, shares=(1.0, 0.0, 0.0, 0.0), confidence=0.99)
    assert told + stream.feed(monitor, 5_000) == []


def test_a_certain_change_too_small_to_matter_is_not_told():
    stream, monitor = Stream(6), DriftMonitor(LABELS, SETTINGS)
    stream.feed(monitor, 5_000)
    assert stream.feed(monitor, 40_000, confidence=0.73) == []


def test_a_slow_change_is_told_once_it_is_large():
    stream, monitor = Stream(7), DriftMonitor(LABELS, SETTINGS)
    stream.feed(monitor, 5_000)
    told = []
    for step in range(60):
        told += stream.feed(monitor, 250, confidence=0.7 - 0.003 * step)
    assert told
    assert told[0][1].after["confidence"] < 0.66


def test_a_reading_says_how_far_the_stream_is_from_its_reference():
    stream, monitor = Stream(8), DriftMonitor(LABELS, SETTINGS)
    assert monitor.reading() == (None, None)
    stream.feed(monitor, 1_000)
    assert monitor.reading().drift is None
    assert monitor.reading().novelty == pytest.approx(0.5, abs=0.02)
    stream.feed(monitor, 4_000)
    still = monitor.reading().drift
    assert still is not None
    assert still["shares"] < 0.01
    stream.feed(monitor, 5_000, shares=(0.7, 0.1, 0.1, 0.1), novelty=0.7)
    moved = monitor.reading().drift
    assert moved is not None
    assert moved["shares"] > 0.1  # against the first reference, whatever was told meanwhile
    assert moved["novelty"] == pytest.approx(0.2, abs=0.02)


def test_a_trailing_reference_takes_the_day_for_what_it_is():
    """Confidence that swings slowly over hours is drift from the first hour, and none from the last two."""
    last_hours = SETTINGS.model_copy(update={"reference_hours": 2.0})
    stream, monitor = Stream(9), DriftMonitor(LABELS, last_hours)
    stream.feed(monitor, 5_000)
    for step in range(40):
        stream.feed(monitor, 5_000, confidence=0.7 - 0.004 * step)
    reading = monitor.reading().drift
    assert reading is not None
    assert abs(reading["confidence"]) < 0.1  # of 0.16 in all


def test_posts_without_an_embedding_are_no_reason_to_be_alarmed():
    stream, monitor = Stream(10), DriftMonitor(LABELS, SETTINGS)
    for _ in range(300):
        labels, sure, new, _, at = stream.batch()
        assert monitor.observe(labels, sure, new, None, at) is None


def test_blocks_are_whole_batches_however_large():
    stream, monitor = Stream(11), DriftMonitor(LABELS, SETTINGS)
    told = [monitor.observe(*stream.batch(size=2_000)) for _ in range(30)]
    told += [monitor.observe(*stream.batch(size=2_000, confidence=0.5)) for _ in range(10)]
    found = [drift for drift in told if drift]
    assert len(found) == 1
    assert "confidence" in found[0].effects


def test_jensen_shannon_in_bits():
    assert jensen_shannon(np.array([5, 5]), np.array([50, 50])) == 0.0
    assert jensen_shannon(np.array([10, 0]), np.array([0, 3])) == pytest.approx(1.0)
    assert jensen_shannon(np.array([0, 0]), np.array([0, 3])) == 0.0
    # Halves against one: the entropy of (3/4, 1/4), 0.8113 bits, less half of one bit.
    assert jensen_shannon(np.array([1, 1]), np.array([2, 0])) == pytest.approx(0.3113, abs=1e-4)


def test_what_chance_makes_of_the_distances_is_taken_off():
    stream = Stream(12)
    floors = {"shares": 1e-6, "embedding": 1e-6, "confidence": 1e-6, "abstained": 1e-6, "novelty": 1e-6}

    def block() -> Block:
        labels, sure, new, mean, at = stream.batch()
        made = Block.empty(at, len(LABELS))
        made.add(at, labels, sure, new)
        made.add_embeddings(mean, len(labels))
        return made

    reference = Reference([block() for _ in range(40)], floors)
    effects = [reference.effects(block(), 1) for _ in range(200)]
    raw = [jensen_shannon(block().labels, reference.whole.labels) for _ in range(200)]
    assert np.mean(raw) > 0.008
    assert np.mean([found["shares"] for found in effects]) < 0.005
