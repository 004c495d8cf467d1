"""A replay counts what a hand count finds, and the live lane beside it does not notice."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from functools import partial

import orjson
import pytest

from schemas import Candidate, Post, TextResult
from stream.client import Outgoing
from stream.replay import ReplayOptions, replay
from stream.topics import create_topics
from tests.support.lanes import committed_and_end, everything, fresh_settings, running, send, until
from workers.errors import PipelineError


class Words:
    """Labels a post by the first of its words that it knows; no label where there is none."""

    model = "words"

    def __init__(self, version: str, labels: dict[str, str], sure: float) -> None:
        self.version = version
        self._labels = labels
        self._sure = sure

    def load(self) -> None:
        return

    def cost(self, message: Post) -> int:
        return len(message.text)

    def prepare(self, batch: Sequence[Post]) -> Sequence[Post | PipelineError]:
        return batch

    def label(self, text: str) -> str | None:
        return next((self._labels[word] for word in text.split() if word in self._labels), None)

    def run(self, prepared: Sequence[Post | PipelineError]) -> Sequence[TextResult | PipelineError]:
        return [
            TextResult(
                id=post.id,
                label=self.label(post.text),
                candidates=(Candidate(label=self.label(post.text) or "other", probability=self._sure),),
                model=self.model,
                label_set="news",
                version=self.version,
            )
            for post in prepared
            if isinstance(post, Post)
        ]


OLD = {"goal": "sports", "match": "sports", "bank": "business"}
NEW = {"goal": "sports", "bank": "business", "match": "dating", "quake": "disaster"}
TEXTS = ("what a goal", "a match at last", "the bank closes", "a quake", "nothing at all")


def posts(first: int, count: int) -> list[Outgoing]:
    made = [
        {"id": f"p{number}", "text": f"{TEXTS[number % len(TEXTS)]} number {number}"}
        for number in range(first, first + count)
    ]
    return [Outgoing(post["id"].encode(), orjson.dumps(post)) for post in made]


async def labelled(settings, count: int) -> bool:
    return len(await everything(settings, "labels")) >= count


async def test_the_summary_is_what_a_hand_count_gives_and_the_live_lane_goes_on(real_bootstrap):
    settings = fresh_settings(real_bootstrap)
    await create_topics(settings.kafka, settings.topics)
    async with running(settings, Words("1", OLD, 0.6)) as lane:
        await send(settings, "posts", [*posts(0, 400), Outgoing(b"bad", b"{")])
        await until(partial(labelled, settings, 400))
        feeding = asyncio.create_task(send(settings, "posts", posts(400, 600)))
        options = ReplayOptions(from_ms=0, limit=401)
        summary = await replay(settings, Words("2", NEW, 0.9), "news", "2", options)
        await feeding
        await until(partial(labelled, settings, 1_000))
        assert lane.fatal is None
    results = [orjson.loads(record.value) for record in await everything(settings, "labels")]
    assert Counter(one["id"] for one in results) == Counter(f"p{number}" for number in range(1_000))
    committed, ends = await committed_and_end(settings, "text", "posts")
    assert committed == ends

    # By hand: each post that was read, under both sets.
    assert summary.read == 401
    assert summary.read == summary.compared + summary.without_old + summary.failed
    diffs = [orjson.loads(record.value) for record in await everything(settings, "diffs")]
    old, new = Words("1", OLD, 0), Words("2", NEW, 0)
    texts = {f"p{number}": f"{TEXTS[number % len(TEXTS)]} number {number}" for number in range(1_000)}
    for diff in diffs:
        assert (diff["old"], diff["new"]) == (old.label(texts[diff["id"]]), new.label(texts[diff["id"]]))
        assert diff["old"] != diff["new"]
        assert (diff["old_version"], diff["new_version"]) == ("1", "2")
        assert diff["source"]["topic"] == settings.topics.prefix + "posts"
    assert summary.changed == len(diffs) == len({diff["id"] for diff in diffs})
    by_hand = Counter((diff["old"], diff["new"]) for diff in diffs)
    assert dict(summary.changes()) == by_hand
    assert set(by_hand) == {("sports", "dating"), (None, "disaster")}


async def test_all_of_the_past_is_compared_and_bad_posts_are_counted(real_bootstrap):
    settings = fresh_settings(real_bootstrap)
    await create_topics(settings.kafka, settings.topics)
    async with running(settings, Words("1", OLD, 0.6)):
        await send(settings, "posts", [*posts(0, 250), Outgoing(b"bad", b"{")])
        await until(partial(labelled, settings, 250))
    summary = await replay(settings, Words("2", NEW, 0.9), "news", "2", ReplayOptions(from_ms=0))
    assert (summary.read, summary.compared, summary.failed) == (251, 250, 1)
    assert (summary.changed, summary.share_changed) == (100, 0.4)
    assert summary.old_versions == {"1": 250}
    assert summary.to_json()["confidence"] == {"old": 0.6, "new": 0.9}
    assert json.dumps(summary.to_json())
    other = await replay(settings, Words("2", NEW, 0.9), "another", "2", ReplayOptions(from_ms=0))
    assert (other.compared, other.without_old) == (0, 250)


async def test_it_begins_and_ends_at_the_times_given(real_bootstrap):
    settings = fresh_settings(real_bootstrap)
    await create_topics(settings.kafka, settings.topics)
    for first in (0, 50, 100):
        await send(settings, "posts", posts(first, 50))
        await asyncio.sleep(0.05)  # the broker's clock is in milliseconds
    stamps = sorted(record.timestamp_ms for record in await everything(settings, "posts"))
    worker = Words("2", NEW, 0.9)
    options = ReplayOptions(from_ms=stamps[50], to_ms=stamps[100])
    summary = await replay(settings, worker, "news", "2", options)
    assert (summary.read, summary.without_old) == (50, 50)


async def test_it_stops_when_told_and_keeps_to_its_rate(real_bootstrap):
    settings = fresh_settings(real_bootstrap)
    await create_topics(settings.kafka, settings.topics)
    await send(settings, "posts", posts(0, 500))
    options = ReplayOptions(from_ms=0, rate_per_s=100)
    options.progressed = lambda _: options.stop.set()
    summary = await replay(settings, Words("2", NEW, 0.9), "news", "2", options)
    assert 0 < summary.read <= 50
    loop = asyncio.get_running_loop()
    began = loop.time()
    options = ReplayOptions(from_ms=0, rate_per_s=1_000)
    await replay(settings, Words("2", NEW, 0.9), "news", "2", options)
    assert loop.time() - began >= 0.45  # 500 posts at 1,000 a second


async def test_a_prefix_without_topics_has_no_past(bootstrap):
    settings = fresh_settings(bootstrap)
    summary = await replay(settings, Words("2", NEW, 0.9), "news", "2", ReplayOptions(from_ms=0))
    assert summary.read == 0


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr("stream.past.POLL_MS", 50)
