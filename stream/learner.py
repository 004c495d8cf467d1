"""Learns from corrections: an agent takes them in, label sets are fitted anew and published where that helps.

What is learned is a function of the topics label-sets, review and feedback, read whole at start, so there is
no state to lose, and a restart comes to the same conclusions and repeats nothing.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import mode

from config import Settings
from schemas import Feedback, Json, LabelSet
from stream.client import Incoming
from stream.learner_memory import Memory, read_feedback
from stream.learner_publisher import LearnerPublisher
from stream.learner_topics import TopicTail, read_one
from stream.topics import TopicNames
from workers.errors import FatalError, MessageError, TransientError
from workers.text.lane import Encode
from workers.text.learning.corrections import settle
from workers.text.learning.refit import Refit, refit
from workers.text.parse import parse_post

logger = logging.getLogger(__name__)

FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 10.0
"""Between tries while the broker is away; they double."""


class Learner(mode.Service):  # type: ignore[misc]
    """Takes corrections in, and fits label sets anew.

    Args:
        settings: all settings.
        encode: embeds texts; called in a thread.
        worker: the process's name in events.
    """

    def __init__(self, settings: Settings, encode: Encode, worker: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        names = TopicNames(settings.topics.prefix)
        self._settings = settings
        self._learn = settings.learn
        self._encode = encode
        self._memory = Memory(settings.learn.max_review_items)
        self._publisher = LearnerPublisher(settings, worker)
        self._label_sets = TopicTail(settings.kafka, names.label_sets)
        self._review = TopicTail(settings.kafka, names.review)
        self._feedback = TopicTail(settings.kafka, names.feedback)
        self._posts_topic = names.posts
        self._included: set[tuple[int, int]] = set()
        self._pending: dict[str, tuple[int, float]] = {}
        self._changed = asyncio.Event()
        self._leading = asyncio.Event()
        self._whole = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="learn")

    def lead(self, leading: bool) -> None:
        """Say whether the feedback topic is this process's: of several learners one alone publishes."""
        self._whole.clear()
        if leading:
            self._leading.set()
        else:
            self._leading.clear()
        self._changed.set()

    async def take(self, record: Incoming) -> None:
        """Take one correction in; when this returns, it is learned from, or a dead letter.

        The feedback topic itself keeps what people said, so there is nothing else to be made durable. A
        record that was read at start, or comes again after a rebalance, counts once.
        """
        await self._whole.wait()
        error = await self._patiently(partial(self._include, record))
        if error is not None:
            await self._patiently(partial(self._publisher.dead_letter, record, error))
            return
        self._changed.set()

    async def on_stop(self) -> None:
        """Let go; a refit under way is not needed, the next start does it."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        for tail in (self._label_sets, self._review, self._feedback):
            await tail.close()

    async def fit_by_hand(self, name: str, *, publish: bool) -> "Outcome":
        """Read all topics, and fit one label set; see fit_once."""
        await self._read_whole()
        label_set = self._memory.label_sets.get(name)
        if label_set is None:
            known = ", ".join(self._memory.label_sets) or "there is none"
            raise FatalError(f"no label set {name!r} is in force ({known})")
        found = await self._fit(label_set)
        version = str(label_set.version)
        if found is None:
            return Outcome(version, False, False, "nothing new in the corrections", {})
        if found.label_set is None or not publish:
            return Outcome(version, False, found.label_set is not None, found.reason, found.facts)
        now = await self._publish(label_set, found, found.label_set) or version
        return Outcome(now, now != version, True, found.reason, found.facts)

    @mode.Service.task  # type: ignore[untyped-decorator]
    async def _run(self) -> None:
        while not self.should_stop:
            await self._leading.wait()
            await self._patiently(self._read_whole)
            logger.info("learning for %s", ", ".join(self._memory.label_sets) or "no label set yet")
            for name in list(self._memory.label_sets):
                await self._patiently(partial(self._refit, name, at_start=True))
            self._pending.clear()
            if self._leading.is_set():
                self._whole.set()
            while (due := await self._due()) is not None:
                self._pending.pop(due, None)
                await self._patiently(partial(self._refit, due))

    async def _read_whole(self) -> None:
        """Read all that is new on the topics; a record that turns out bad is the agent's to set aside."""
        await self._catch_up()
        for record in await self._feedback.news():
            await self._patiently(partial(self._include, record))

    async def _include(self, record: Incoming) -> MessageError | None:
        """Learn what a record says; gives what is wrong with it, if anything.

        Raises:
            TransientError: the broker does not answer.
        """
        if (record.partition, record.offset) in self._included:
            return None
        try:
            feedback = read_feedback(record.value)
            if feedback.lane != "text":
                return None
            name = await self._meant(feedback)
            self._memory.learn(name, feedback, await self._text(feedback, name))
        except MessageError as error:
            return error
        self._included.add((record.partition, record.offset))
        count, since = self._pending.get(name, (0, asyncio.get_running_loop().time()))
        self._pending[name] = (count + 1, since)
        return None

    async def _meant(self, feedback: Feedback) -> str:
        try:
            return self._memory.meant(feedback)
        except MessageError:  # the label set, or the question, may be newer than what was read
            await self._catch_up()
            return self._memory.meant(feedback)

    async def _catch_up(self) -> None:
        self._memory.apply(await self._label_sets.news())
        self._memory.review(await self._review.news())

    async def _text(self, feedback: Feedback, name: str) -> str:
        """The post's text: as sent, as asked about, or where it was read.

        Raises:
            MessageError: reason unknown_post.
        """
        if feedback.text is not None:
            return feedback.text
        if (asked := self._memory.asked(feedback.id, name)) is None:
            await self._catch_up()
            asked = self._memory.asked(feedback.id, name)
        if asked is not None and asked.text:
            return asked.text
        source = feedback.source or (asked.source if asked else None)
        if source is not None and source.topic == self._posts_topic:  # nobody reads other topics through us
            record = await read_one(self._settings.kafka, source)
            if record is not None:
                try:
                    post = parse_post(record.value, unknown_fields="ignore")
                except MessageError:
                    post = None
                if post is not None and post.id == feedback.id:
                    return post.text
        raise MessageError("id: no text is known of this post: send it along", reason="unknown_post")

    async def _due(self) -> str | None:
        """Wait for a label set with corrections enough, or with one that has waited long enough.

        Returns:
            Its name; None where the feedback topic is another process's now.
        """
        loop = asyncio.get_running_loop()
        while self._whole.is_set():
            self._changed.clear()
            for name, (count, since) in self._pending.items():
                if count >= self._learn.every or loop.time() >= since + self._learn.interval_s:
                    return name
            oldest = min((since for _, since in self._pending.values()), default=None)
            limit = None if oldest is None else max(0.0, oldest + self._learn.interval_s - loop.time())
            try:
                async with asyncio.timeout(limit):
                    await self._changed.wait()
            except TimeoutError:
                continue
        return None

    async def _refit(self, name: str, *, at_start: bool = False) -> None:
        """Fit a label set anew, and publish it where it measures better."""
        await self._catch_up()
        label_set = self._memory.label_sets.get(name)
        if label_set is None:
            return
        found = await self._fit(label_set)
        if found is None:
            return
        if found.label_set is None:
            if not at_start:  # it was said before
                await self._publisher.kept(label_set, found)
            return
        if await self._publish(label_set, found, found.label_set) is None:  # begin again
            self._pending.setdefault(name, (self._learn.every, 0.0))

    async def _publish(self, before: LabelSet, found: Refit, after: LabelSet) -> str | None:
        """Publish a new version; gives the one in force then, None where somebody changed it meanwhile."""
        await self._catch_up()
        if self._memory.label_sets.get(before.name) != before:
            return None
        version = self._memory.next_version(before.name)
        label_set = after.model_copy(update={"version": version})
        published = await self._publisher.publish(before, label_set, found)
        self._memory.apply(await self._label_sets.news())
        return str(version if published else before.version)

    async def _fit(self, label_set: LabelSet) -> Refit | None:
        pool = settle(self._memory.words(label_set.name), several=label_set.multi_label)
        work = partial(refit, label_set, pool, self._encode, most=self._learn.max_examples)
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _patiently(self, work: Callable[[], Any]) -> Any:
        """Do something again and again while the broker is away."""
        wait_s = FIRST_WAIT_S
        while True:
            try:
                return await work()
            except TransientError as error:
                logger.warning("%s; trying again in %.1f s", error.detail, wait_s)
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)


@dataclass(frozen=True)
class Outcome:
    """What a fit by hand came to.

    Attributes:
        version: in force afterwards.
        published: whether it is a new one.
        fit: whether the candidate measured well enough to be published.
        reason: one line for a person.
        facts: figures for programs.
    """

    version: str
    published: bool
    fit: bool
    reason: str
    facts: dict[str, Json]


async def fit_once(settings: Settings, encode: Encode, name: str, *, publish: bool) -> Outcome:
    """Fit a label set to all corrections once, as the learner does.

    Args:
        settings: all settings.
        encode: embeds texts.
        name: the label set.
        publish: False only measures.

    Raises:
        FatalError: no such label set is in force.
        TransientError: the broker does not answer.
    """
    learner = Learner(settings, encode, "by-hand")
    try:
        return await learner.fit_by_hand(name, publish=publish)
    finally:
        await learner.on_stop()
