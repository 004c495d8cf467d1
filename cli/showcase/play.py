"""Plays the story: topics, workers, feed, reader, and an end that waits until everything is answered."""

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from cli.showcase.children import WorkerProcess, worker_environ
from cli.showcase.screen import READY, View, change
from cli.showcase.story import Item, LaneName, Story
from cli.showcase.turn import add_labels
from config import KafkaSettings, Settings, TopicSettings
from stream.client import Outgoing, Publisher, read
from stream.topics import TopicNames
from workers.errors import FatalError

FRAME_S: Final = 0.125
"""Between two pictures."""

IMAGES_PER_POST: Final = 1 / 12
"""Images come this much slower than posts."""

MAX_IMAGE_RATE: Final = 3.0
"""Images a second at most: what a core does beside the text worker without falling behind."""

START_TIMEOUT_S: Final = 300.0
"""Exporting the models on a slow machine takes a while; longer than this is a fault."""

DRAIN_TIMEOUT_S: Final = 30.0
"""For the answers still open when the feed has ended."""

LIVE: Final = "live"

SETTLE_S: Final = 1.0
"""Looked on after the last answer, so that a second one would be seen."""


@dataclass(frozen=True)
class Plan:
    """How the story is played.

    Attributes:
        rate: posts a second.
        seconds: how long; None plays the posts once.
        burst: posts sent all at once at the end.
        own_settings: True on the user's own Kafka: the workers keep the user's settings.
        config: a settings file handed on to the workers.
        logs: folder for the workers' logs.
    """

    rate: float
    seconds: float | None
    burst: int
    own_settings: bool
    config: Path | None
    logs: Path


class Reporter(Protocol):
    """Shows what happens."""

    def seen(self, what: object) -> None:
        """Something came out."""

    def frame(self, view: View, now: float) -> None:
        """Draw the present state."""


class Player:
    """Plays a story once. One event loop owns it.

    Args:
        story: what is played.
        kafka: where.
        topics: under which names; the topics are there already and empty.
        plan: how.
        view: what is shown; its tally is filled.
        reporter: shows it.
    """

    def __init__(
        self,
        story: Story,
        kafka: KafkaSettings,
        topics: TopicSettings,
        plan: Plan,
        view: View,
        reporter: Reporter,
    ) -> None:
        self._story = story
        self._kafka = kafka
        self._names = TopicNames(topics.prefix)
        self._plan = plan
        self._view = view
        self._reporter = reporter
        self._settings = Settings(kafka=kafka, topics=topics)
        self._published = 0
        self._posts_from: float | None = None
        self._workers = [self._worker("text"), self._worker("image")]
        self._read_more = asyncio.Event()
        self.stopping = asyncio.Event()

    @property
    def published(self) -> int:
        """Inputs that the broker has acknowledged."""
        return self._published

    async def play(self) -> None:
        """Play it all; `stopping` ends it early, and what was sent is still waited for.

        Raises:
            PipelineError: the broker is gone, or a worker has ended.
        """
        tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._draw())]
        try:
            for worker in self._workers:
                await worker.start()
            async with Publisher(self._kafka, linger_ms=0) as publisher:
                await self._unless_failed(self._feed(publisher), tasks)
                await self._unless_failed(self._finish(), tasks)
        finally:
            self._view.status = "stopping the workers"
            await asyncio.gather(*(worker.stop() for worker in self._workers))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._reporter.frame(self._view, time.time())

    def _worker(self, lane: LaneName) -> WorkerProcess:
        arguments = ["--kafka", self._kafka.bootstrap, "--group", self._kafka.group]
        arguments += ["--prefix", self._names.prefix, "--log-level", "WARNING"]
        if self._plan.config is not None:
            arguments += ["--config", str(self._plan.config)]
        if lane == "text":
            arguments += ["--labels", str(self._story.labels)]
        else:
            arguments += ["--mode", "compare", "--references", str(self._story.references)]
            arguments += ["--allow-folder", str(self._story.parts)]
        environ = worker_environ(os.environ, self._kafka, keep_settings=self._plan.own_settings)
        return WorkerProcess(lane, arguments, environ, self._plan.logs / f"{lane}.log")

    async def _unless_failed(self, work: Awaitable[None], others: list[asyncio.Task[None]]) -> None:
        """Do something unless the reader, the screen or a worker fails first."""
        task = asyncio.ensure_future(work)
        watch = asyncio.create_task(self._watch_workers())
        try:
            done, _ = await asyncio.wait({task, watch, *others}, return_when=asyncio.FIRST_COMPLETED)
            for ended in done:
                ended.result()
        finally:
            task.cancel()
            watch.cancel()
            await asyncio.gather(task, watch, return_exceptions=True)

    async def _watch_workers(self) -> None:
        while True:
            for worker in self._workers:
                ready = await worker.poll()
                self._view.waiting[worker.lane] = READY if ready else self._waiting_for(worker)
            await asyncio.sleep(0.1)

    def _waiting_for(self, worker: WorkerProcess) -> str:
        waited_s = int(time.time() - self._view.started_at)
        if worker.lane == "text" and not _models_are_cached():
            return f"exporting its model, this once; about half a minute ({waited_s} s)"
        return f"loading its model ({waited_s} s)"

    async def _feed(self, publisher: Publisher) -> None:
        """Send both feeds, each as soon as its worker is ready, then the burst."""
        self._view.status = "starting the workers"
        posts_over = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as feeds:
                feeds.create_task(self._feed_posts(publisher, posts_over))
                feeds.create_task(self._feed_images(publisher, posts_over))
                feeds.create_task(self._turn(posts_over))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        if self._plan.burst and not self.stopping.is_set():
            await self._drained()
            self._view.status = f"{self._plan.burst:,} posts at once"
            await self._send(publisher, self._story.burst(self._plan.burst))

    async def _feed_posts(self, publisher: Publisher, over: asyncio.Event) -> None:
        await self._ready("text")
        self._posts_from = time.monotonic()
        posts = self._story.text_feed()
        if self._plan.seconds is None:
            posts = itertools.islice(posts, self._story.text_feed_items)
        await self._pace(publisher, posts, self._plan.rate, until=self._deadline())
        over.set()

    async def _turn(self, over: asyncio.Event) -> None:
        """Half-way through, add labels to the set in force, and see how long it takes."""
        while not self._half_played():
            if over.is_set() or self.stopping.is_set():
                return
            await asyncio.sleep(FRAME_S)
        changed = await add_labels(self._settings, self._story)
        if changed is not None:
            self._view.tally.changed = changed
            self._view.status = change(changed)
            self._reporter.seen(changed)

    def _half_played(self) -> bool:
        if self._plan.seconds is None:
            return self._view.tally.sent >= self._story.text_feed_items / 2
        return self._posts_from is not None and time.monotonic() > self._posts_from + self._plan.seconds / 2

    async def _feed_images(self, publisher: Publisher, posts_over: asyncio.Event) -> None:
        await self._ready("image")
        rate = min(MAX_IMAGE_RATE, max(0.5, self._plan.rate * IMAGES_PER_POST))
        images = self._story.image_feed()
        first = itertools.islice(images, 5)  # a few come in any case, however short the play
        await self._pace(publisher, first, max(rate, 1.0), until=lambda: False)
        await self._pace(publisher, images, rate, until=posts_over.is_set)

    async def _ready(self, lane: LaneName) -> None:
        """Wait for a worker, or for the user's Ctrl-C."""
        worker = next(worker for worker in self._workers if worker.lane == lane)
        waits = [asyncio.create_task(worker.ready.wait()), asyncio.create_task(self.stopping.wait())]
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise FatalError(f"the {lane} worker is not ready after {START_TIMEOUT_S:.0f} s") from None
        finally:
            for wait in waits:
                wait.cancel()
        self._view.status = LIVE

    def _deadline(self) -> Callable[[], bool]:
        if self._plan.seconds is None:
            return lambda: False
        end = time.monotonic() + self._plan.seconds
        return lambda: time.monotonic() >= end

    async def _pace(
        self, publisher: Publisher, items: Iterator[Item], rate: float, until: Callable[[], bool]
    ) -> None:
        """Send items at a steady rate, those due together in one go."""
        started = time.monotonic()
        due = 0
        while not self.stopping.is_set() and not until():
            count = int((time.monotonic() - started) * rate) + 1 - due
            batch = list(itertools.islice(items, count))
            if count and not batch:
                return
            due += len(batch)
            await self._send(publisher, batch)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(
                    self.stopping.wait(), max(0.01, started + due / rate - time.monotonic())
                )

    async def _send(self, publisher: Publisher, items: list[Item]) -> None:
        for lane, topic in (("text", self._names.posts), ("image", self._names.images)):
            chosen = [item for item in items if item.lane == lane]
            self._view.tally.about.update((item.key, item.about) for item in chosen)
            records = [Outgoing(item.key.encode(), item.value, item.headers) for item in chosen]
            count = await publisher.publish(topic, records)
            self._published += count  # after the await: two feeds count here

    async def _read(self) -> None:
        names = self._names
        topics = (names.posts, names.images, names.labels, names.matches, names.dead_letters)
        async for record in read(self._kafka, *topics, from_start=True):
            seen = self._view.tally.saw(record, time.time())
            if seen is not None:
                self._reporter.seen(seen)
            self._read_more.set()

    async def _draw(self) -> None:
        while True:
            self._reporter.frame(self._view, time.time())
            await asyncio.sleep(FRAME_S)

    async def _drained(self) -> None:
        tally = self._view.tally
        while tally.sent < self._published or tally.unanswered:
            self._read_more.clear()
            await self._read_more.wait()

    async def _finish(self) -> None:
        """Wait for the answers still open, and a little longer for any that would come twice."""
        if self._view.status == LIVE or self._view.tally.changed is not None:
            self._view.status = "waiting for the last answers"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                await self._drained()
        await asyncio.sleep(SETTLE_S)


def _models_are_cached() -> bool:
    """Tell whether a text model was exported before; wrong answers only change a line on the screen."""
    chosen = os.environ.get("FEEDSIGHT_CACHE")
    root = Path(chosen) if chosen else Path.home() / ".cache" / "feedsight"
    return any(root.glob("text/*/complete"))
