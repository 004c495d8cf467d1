"""Labels the past again with another version of a label set, and tells what would change.

It joins no consumer group, commits nothing and writes to no topic that a worker reads as input: the live lane
does not know of it. Its rate is bounded, so that it leaves the machine and the broker to the stream.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from config import Settings
from schemas import LabelDiff, Origin, TextResult
from stream.client import Outgoing, Publisher
from stream.codec import post_decoder, result_headers
from stream.inference import Inference
from stream.past import FormerResult, FormerResults, PastTopic
from stream.replay_summary import Summary
from stream.soundness import flaw_of
from stream.topics import TopicNames, create_missing
from workers.base import Worker
from workers.errors import MessageError, PipelineError

DIFF_TYPE: Final = "feedsight.diff.v1"
DIFF_SOURCE: Final = "/feedsight/replay"

MAX_CHUNK: Final = 256
"""Posts labelled at once: a second's stop and a bounded memory, at nearly the full speed of the model."""

MARGIN_MS: Final = 60_000
"""Results are looked for from so much earlier on: the clocks of senders and workers differ."""

MAX_TEXT_CHARS: Final = 1_000
"""Of a post's text in a diff."""


@dataclass
class ReplayOptions:
    """What is labelled again.

    Attributes:
        from_ms: posts from this time on, by Kafka's timestamp, milliseconds since the epoch.
        to_ms: and before this one; None: until now.
        rate_per_s: posts a second at most; None: as fast as it goes.
        limit: posts at most.
        topic: the posts; None: the input topic.
        stop: set from outside, it ends after the posts under way.
        progressed: told how many posts were done.
    """

    from_ms: int
    to_ms: int | None = None
    rate_per_s: float | None = None
    limit: int | None = None
    topic: str | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    progressed: Callable[[int], None] = lambda _: None


async def prepare_diffs(settings: Settings) -> None:
    """Create the topic of diffs where it is missing.

    Raises:
        TransientError: the broker does not answer, or refuses.
    """
    names = TopicNames(settings.topics.prefix)
    diffs = [spec for spec in names.specs() if spec.name == names.diffs]
    await create_missing(settings.kafka, diffs, settings.topics.replication)


async def replay(
    settings: Settings, worker: Worker[Any, Any, Any], name: str, version: str, options: ReplayOptions
) -> Summary:
    """Label the past again and publish a diff for each post whose label would be another.

    Args:
        settings: how to reach the brokers, and the prefix.
        worker: labels with the candidate; not loaded yet.
        name: the label set.
        version: the candidate's.
        options: which posts, and how fast.

    Raises:
        TransientError: the broker does not answer.
        FatalError: the candidate can't be used, or the model fails on everything.
    """
    names = TopicNames(settings.topics.prefix)
    source = options.topic or names.posts
    inference = Inference(worker, flaw=flaw_of)
    try:
        await inference.load()
        async with (
            PastTopic(settings.kafka, source, options.from_ms, options.to_ms) as posts,
            PastTopic(settings.kafka, names.labels, max(0, options.from_ms - MARGIN_MS)) as results,
            Publisher(settings.kafka) as publisher,
        ):
            former = FormerResults(results, source, name)
            run = _Run(settings, inference, former, Summary(name, version))
            await run.all(posts, options, partial(publisher.publish, names.diffs))
            return run.summary
    finally:
        inference.close()


class _Run:
    """One pass over the past."""

    def __init__(
        self, settings: Settings, inference: Inference, former: FormerResults, summary: Summary
    ) -> None:
        self.summary = summary
        self._decode = post_decoder(settings.lane.unknown_fields)
        self._inference = inference
        self._former = former

    async def all(
        self, posts: PastTopic, options: ReplayOptions, publish: Callable[[list[Outgoing]], Any]
    ) -> None:
        """Read, label, compare and publish, chunk by chunk, not faster than the rate."""
        rate = options.rate_per_s
        chunk = MAX_CHUNK if rate is None else max(1, min(MAX_CHUNK, int(rate / 2)))
        due = time.monotonic()
        while not options.stop.is_set() and await posts.unread():
            left = None if options.limit is None else options.limit - self.summary.read
            if left == 0:
                break
            records = await posts.read(chunk if left is None else min(chunk, left))
            if not records:
                continue
            diffs = await self._compare(records)
            if diffs:
                await publish(diffs)
            options.progressed(len(records))
            if rate is not None:
                due = max(due, time.monotonic() - 1.0) + len(records) / rate
                await _wait(options.stop, due - time.monotonic())

    async def _compare(self, records: Sequence[Any]) -> list[Outgoing]:
        """Label records again and hold them against their former results; gives the diffs."""
        summary = self.summary
        summary.read += len(records)
        messages: list[Any] = []
        for record in records:
            try:
                messages.append(self._decode(record))
            except MessageError:
                messages.append(None)
        whole = [message for message in messages if message is not None]
        outcomes = iter(await self._inference.run(whole, await self._inference.prepare(whole)))
        former = await self._former.take([(record.partition, record.offset) for record in records])
        headers = result_headers(DIFF_TYPE, DIFF_SOURCE)
        diffs = []
        for record, message, old in zip(records, messages, former, strict=True):
            outcome = next(outcomes) if message is not None else None
            if outcome is None or isinstance(outcome, PipelineError):
                summary.failed += 1
                continue
            new = outcome if isinstance(outcome, TextResult) else next(iter(outcome), None)
            if new is None:
                summary.not_for_it += 1
            elif old is None:
                summary.without_old += 1
            elif (diff := self._diff(record, message.text, old, new)) is not None:
                identity = f"{record.topic}-{record.partition}-{record.offset}-{old.version}-{new.version}"
                diffs.append(
                    Outgoing(
                        record.key or message.id.encode(),
                        diff.to_json(),
                        (*headers, ("ce_id", identity.encode())),
                    )
                )
        return diffs

    def _diff(self, record: Any, text: str, old: FormerResult, new: TextResult) -> LabelDiff | None:
        """Count a post with both labels; its diff where they differ."""
        best = new.candidates[0].probability
        self.summary.count(old.label, new.label, old.version)
        self.summary.weigh(old.probability, best)
        if old.label == new.label:
            return None
        diff = LabelDiff(
            id=new.id,
            name=new.label_set,
            old=old.label,
            new=new.label,
            old_version=old.version,
            new_version=new.version,
            old_probability=old.probability,
            new_probability=best,
            text=text[:MAX_TEXT_CHARS],
            source=Origin(topic=record.topic, partition=record.partition, offset=record.offset),
        )
        self.summary.show(diff)
        return diff


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    """Wait, or until somebody says stop."""
    if seconds <= 0:
        return
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
