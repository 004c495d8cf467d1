"""What a post costs, in counts that are the same on every machine: calls, blocks of memory, batches.

A bound that is crossed says that somebody added work to every post. That may be right: then raise the bound,
and say in the commit what was bought with it.
"""

import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from schemas import Post
from stream.bench.engine import posts
from stream.codec import post_decoder
from stream.late import Outcomes
from stream.metrics import Exposition, LaneMetrics
from stream.records import Item
from stream.result_records import AnswerRecords
from stream.soundness import flaw_of
from workers.batching import Batcher
from workers.text.duplicates import fingerprints
from workers.text.instant import InstantModel
from workers.text.models.sentence import sub_batches
from workers.text.word_keys import find_words

COUNT = 1_000

# Measured on Python 3.11: 15.0, 13.0, 17.2, 9.0 and 7.0.
READ_CALLS = 16.5
INFER_CALLS = 14.5
WRITE_CALLS = 19
FINGERPRINT_CALLS = 8.5
WORDS_CALLS = 3
IN_FLIGHT_BLOCKS = 8


@dataclass(slots=True)
class Record:
    """A consumed record, as aiokafka gives it."""

    offset: int
    key: bytes
    value: bytes
    topic: str = "t.posts"
    partition: int = 1
    timestamp: int = 1_700_000_000_000
    headers: tuple[tuple[str, bytes], ...] = ()


class Delivery:
    """Takes answers."""

    closed = False

    def __init__(self) -> None:
        self.answers: list[Item] = []

    def answer(self, answers: list[Item]) -> None:
        self.answers.extend(answers)


def records(count: int = COUNT) -> list[Record]:
    return [Record(offset, key, value) for offset, (key, value, _) in enumerate(posts(count))]


def calls(work: Callable[[], object], count: int = COUNT) -> float:
    """Calls of functions, Python's and C's, for each of `count`."""
    seen = 0

    def profile(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal seen
        seen += event in ("call", "c_call")

    former = sys.getprofile()
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(former)
    return seen / count


class Engine:
    """The steps of a lane around the model, without a broker and without a loop."""

    def __init__(self, source: list[Record]) -> None:
        self.records = source
        self.decode = post_decoder()
        self.model = InstantModel()
        self.delivery = Delivery()
        self.batcher: Batcher[Item] = Batcher(max_items=COUNT, max_cost=10**9, deadline_s=1.0)
        self.outcomes = Outcomes(None, lambda _: None)  # type: ignore[arg-type]
        self.metrics = LaneMetrics("text", "w", Exposition())
        self.builder = AnswerRecords(
            "text",
            "/feedsight/g",
            sink="t.labels",
            review="t.review",
            dead_letters="t.dead-letters",
            event_type="feedsight.label.v1",
            routes=dict,
        )

    def read(self) -> None:
        messages = [self.decode(record) for record in self.records]
        items = [
            Item(record, message, len(record.value), self.delivery)
            for record, message in zip(self.records, messages, strict=True)
        ]
        self.batcher.extend(items, [self.model.cost(message) for message in messages])

    def infer(self) -> None:
        batch = self.batcher.take()
        results = self.model.run([item.message for item in batch])
        assert not any(flaw_of(result) for result in results)
        self.outcomes.give(batch, results)

    def write(self) -> list[Any]:
        made = self.builder.build(self.delivery.answers, False)
        self.metrics.committed(self.delivery.answers)
        return made


def test_reading_a_post_takes_few_calls() -> None:
    engine = Engine(records())
    assert calls(engine.read) <= READ_CALLS


def test_answering_a_post_takes_few_calls() -> None:
    engine = Engine(records())
    engine.read()
    assert calls(engine.infer) <= INFER_CALLS


def test_writing_a_result_takes_few_calls() -> None:
    engine = Engine(records())
    engine.read()
    engine.infer()
    assert calls(engine.write) <= WRITE_CALLS


def blocks(work: Callable[[], object]) -> float:
    """Blocks of memory that are held after the work, for each post."""
    gc.collect()
    before = sys.getallocatedblocks()
    kept = work()
    held = sys.getallocatedblocks() - before
    del kept
    return held / COUNT


@pytest.mark.skipif(sys.gettrace() is not None, reason="a tracer allocates too")
def test_a_post_in_flight_holds_few_blocks_of_memory() -> None:
    engine = Engine(records())
    assert blocks(engine.read) <= IN_FLIGHT_BLOCKS


def texts() -> list[str]:
    return [Post(id="1", text=f"Cup final goes to extra time, minute {n}").text for n in range(COUNT)]


def test_a_fingerprint_takes_few_calls() -> None:
    said = texts()
    assert calls(lambda: fingerprints(said)) <= FINGERPRINT_CALLS


def test_the_words_of_a_post_take_few_calls_however_many_they_are() -> None:
    said = [text * 20 for text in texts()]
    assert calls(lambda: find_words(said)) <= WORDS_CALLS


@pytest.mark.parametrize(("us_each", "batches"), [(1, 5), (100, 9), (1_000, 14)])
def test_a_burst_is_worked_off_in_few_batches(us_each: int, batches: int) -> None:
    """5,000 posts at once, 1,000 in a batch at most; a slow model holds its target by smaller ones."""
    batcher: Batcher[int] = Batcher(max_items=1_000, max_cost=10**9, deadline_s=1.0, target_s=0.1)
    for _ in range(60):
        batcher.worked(1_000, us_each / 1_000)
    batcher.extend(range(5_000), [1] * 5_000)
    taken = 0
    while len(batcher):
        batcher.take()
        taken += 1
    assert taken <= batches


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_sentence_model_is_called_once_for_about_512_tokens(threads: int) -> None:
    lengths = np.random.default_rng(0).integers(8, 120, 600)
    parts = sub_batches(lengths, threads)
    padded = sum(len(part) * int(lengths[part].max()) for part in parts)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(lengths)))
    assert len(parts) <= 1.2 * lengths.sum() / 512
    assert padded <= 1.05 * lengths.sum()
