"""Control topics: read whole before a lane takes its first input, then followed while it runs.

They are compacted and small, and every worker needs all of them: so there is no consumer group, no state on
disk, and a worker that starts late has what the others have.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

import mode

from config import KafkaSettings
from stream.control_topic import ControlTopic
from stream.read_ahead import ReadAhead
from workers.base import Applied, Change, Controllable
from workers.errors import FatalError, TransientError

logger = logging.getLogger(__name__)

LOOK_AGAIN_S: Final = 1.0
"""Between looks for a topic that does not exist yet, and between tries to reach a broker."""


class Control(mode.Service):  # type: ignore[misc]
    """Keeps a worker's labels or references what the topic says.

    Args:
        settings: how to reach the brokers.
        topic: the control topic.
        worker: takes the changes.
        report: told of everything that was applied or refused.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        worker: Controllable,
        report: Callable[[Applied, float], None],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.topic = topic
        self._settings = settings
        self._worker = worker
        self._report = report
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="control")
        self._removing = ThreadPoolExecutor(1, thread_name_prefix="control-removals")
        self.fatal: FatalError | None = None
        """Why it ended the process, if it did."""
        self._keys: set[str] = set()
        """Keys whose newest record, as far as it was read, has a value."""
        self._whole = False
        self._changed = asyncio.Event()
        self.routes: Mapping[str, str] = {}
        """Further topics by label set, of those that the broker has."""
        self._unroutable: set[str] = set()
        self.on_hold: Callable[[], None] = lambda: None
        """Called when there is nothing left to work with."""

    @property
    def ready(self) -> bool:
        """Whether the topic was read whole and the worker has something to work with."""
        return self._whole and self._worker.ready

    async def changed(self, timeout_s: float) -> None:
        """Wait for the next change, or for the time given."""
        self._changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()

    async def on_stop(self) -> None:
        """Let the thread end; what it works on is not needed any more."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._removing.shutdown(wait=False, cancel_futures=True)

    @mode.Service.task  # type: ignore[untyped-decorator]
    async def _run(self) -> None:
        said = False
        while not self.should_stop:
            control = ControlTopic(self._settings, self.topic)
            try:
                await control.open()
                await self._read_and_follow(control)
            except TransientError as error:
                if not said:
                    logger.warning("control topic %s: %s", self.topic, error)
                said = True
                await self.sleep(LOOK_AGAIN_S)
            except FatalError as error:
                self.fatal = error
                raise
            finally:
                await control.close()

    async def _read_and_follow(self, control: ControlTopic) -> None:
        while not await control.exists():
            await self._look_at_routes(control)
            self._read_whole()  # there is nothing to read; what the settings name is in force
            await self.sleep(LOOK_AGAIN_S)
            if self.should_stop:
                return
        whole = await control.read_whole()
        # What was taken away while the broker was out of reach may have been compacted away since; a topic
        # that is empty was lost, and what is in force stays.
        lost = self._keys - {change.key for change in whole} if whole else set()
        gone = [Change(key, None, (), int(time.time() * 1_000)) for key in sorted(lost)]
        await self._apply(control, [*gone, *whole])
        self._read_whole()
        if getattr(self._worker, "removals_overtake", False):
            await self._follow_ahead(control)
            return
        async for changes in control.follow():
            await self._apply(control, changes)
            if self.should_stop:
                return

    async def _follow_ahead(self, control: ControlTopic) -> None:
        """Read on while changes are applied, so that a removal does not wait for what came before it."""
        ahead = ReadAhead()
        applying = asyncio.create_task(self._apply_waiting(control, ahead))
        try:
            async for changes in control.follow():
                removed = ahead.add(changes)
                if removed:
                    await self._apply(control, removed, self._removing)
                await ahead.room()
                if self.should_stop or applying.done():
                    return
        finally:
            applying.cancel()
            with suppress(asyncio.CancelledError):
                await applying

    async def _apply_waiting(self, control: ControlTopic, ahead: ReadAhead) -> None:
        while not self.should_stop:
            await self._apply(control, await ahead.take())

    async def _look_at_routes(self, control: ControlTopic) -> None:
        """Route to topics that exist: a lane would wait for ever for one that does not."""
        wanted: Mapping[str, str] = getattr(self._worker, "routes", {})
        known = await control.topics() if wanted else set()
        for name, route in wanted.items():
            if route not in known and name not in self._unroutable:
                logger.warning(
                    "%s: route %s does not exist; results go to the labels topic only", name, route
                )
        self._unroutable = {name for name, route in wanted.items() if route not in known}
        self.routes = {name: route for name, route in wanted.items() if route in known}

    def _read_whole(self) -> None:
        if not self._whole and not self._worker.ready:
            logger.warning("nothing is in force yet: waiting for %s", self.topic)
        self._whole = True
        self._changed.set()

    async def _apply(
        self, control: ControlTopic, changes: list[Change], thread: ThreadPoolExecutor | None = None
    ) -> None:
        """Apply changes off the event loop, and say what came of them."""
        if not changes or self.should_stop:
            return
        for change in changes:
            (self._keys.discard if change.value is None else self._keys.add)(change.key)
        loop = asyncio.get_running_loop()
        was_ready = self._worker.ready
        for applied in await loop.run_in_executor(
            thread or self._thread, self._worker.apply_changes, changes
        ):
            if applied.refused is not None:
                logger.warning("%s %s stays out: %s", applied.name, applied.version, applied.refused)
            self._report(applied, max(0.0, time.time() - applied.published_ms / 1_000))
        await self._look_at_routes(control)
        self._changed.set()
        if was_ready and not self._worker.ready:
            logger.warning("nothing is in force any more: waiting for %s", self.topic)
            self.on_hold()
