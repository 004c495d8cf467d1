"""The demonstration's bookkeeping finds what is lost, double, late or dead."""

import json

import pytest

from cli.showcase.tally import DeadLetterSeen, LabelSeen, MatchSeen, Tally
from stream.client import Incoming
from stream.topics import TopicNames

NAMES = TopicNames()


@pytest.fixture
def tally() -> Tally:
    return Tally(NAMES, {"p1": "a storm", "broken": "a null value"})


def record(topic, offset=0, *, key=b"p1", value=b"", headers=(), at_ms=1_000, partition=0) -> Incoming:
    return Incoming(topic, partition, offset, at_ms, key, value, headers)


def label_for(offset, *, post="p1", label="damage"):
    value = {
        "id": post,
        "label": label,
        "candidates": [{"label": "damage", "probability": 0.8}],
        "source": {"topic": NAMES.posts, "partition": 0, "offset": offset},
    }
    return record(NAMES.labels, value=json.dumps(value).encode())


def test_an_input_without_an_answer_is_open(tally):
    tally.saw(record(NAMES.posts, 0), at=1.1)
    tally.saw(record(NAMES.posts, 1), at=1.1)
    tally.saw(label_for(0), at=1.5)
    assert (tally.sent, tally.results, tally.unanswered, tally.doubled) == (2, 1, 1, 0)


def test_a_second_answer_is_double(tally):
    tally.saw(record(NAMES.posts, 0), at=1.1)
    tally.saw(label_for(0), at=1.5)
    tally.saw(label_for(0), at=1.6)
    assert tally.doubled == 1
    assert len(tally.latencies_s) == 1


def test_latency_counts_from_the_inputs_timestamp_whichever_is_read_first(tally):
    tally.saw(record(NAMES.posts, 0), at=1.1)
    tally.saw(label_for(0), at=1.5)
    tally.saw(label_for(1), at=1.6)
    tally.saw(record(NAMES.posts, 1), at=1.9)
    assert tally.latencies_s == [pytest.approx(0.5), pytest.approx(0.6)]
    assert tally.percentile(0.99) == pytest.approx(0.6)


def test_an_abstention_is_shown_without_a_label(tally):
    seen = tally.saw(label_for(0, label=None), at=1.5)
    assert isinstance(seen, LabelSeen)
    assert (seen.label, seen.probability, seen.text) == (None, 0.8, "a storm")


def test_a_dead_letter_answers_its_input(tally):
    headers = (
        ("reason", b"null_value"),
        ("source_topic", NAMES.posts.encode()),
        ("source_partition", b"0"),
        ("source_offset", b"7"),
    )
    tally.saw(record(NAMES.posts, 7, key=b"broken"), at=1.1)
    seen = tally.saw(record(NAMES.dead_letters, key=b"broken", value=None, headers=headers), at=1.2)
    assert seen == DeadLetterSeen("null_value", (NAMES.posts, 0, 7), "a null value")
    assert (tally.unanswered, tally.dead) == (0, 1)


def test_a_match_shows_its_worst_region(tally):
    value = {
        "id": "i1",
        "verdict": "defect",
        "score": 0.9,
        "regions": [{"box": [0, 0, 5, 5], "score": 0.4}, {"box": [9, 9, 12, 12], "score": 0.9}],
        "compared_with": "board-1",
        "source": {"topic": NAMES.images, "partition": 0, "offset": 0},
    }
    seen = tally.saw(record(NAMES.matches, value=json.dumps(value).encode()), at=1.5)
    assert isinstance(seen, MatchSeen)
    assert (seen.regions, seen.largest) == (2, (9, 9, 12, 12))


def test_the_burst_has_a_rate_and_no_say_in_the_latencies(tally):
    for offset in range(10):
        tally.saw(record(NAMES.posts, offset, key=b"burst-%d" % offset, at_ms=2_000), at=2.0)
        tally.saw(label_for(offset, post=f"burst-{offset}"), at=2.0 + 0.1 * (offset + 1))
    assert tally.burst_rate() == pytest.approx(10.0)
    assert tally.latencies_s == []
    assert not tally.labels


def test_the_rate_is_of_the_last_seconds(tally):
    tally.saw(label_for(0), at=1.0)
    tally.saw(label_for(1), at=9.0)
    assert tally.rate(now=10.0) == pytest.approx(0.2)
