"""Delivery of one input partition: each input gets one result or one dead letter, committed with its offset.

The steps, which the body of `PartitionDelivery` repeats and the chaos tests kill one by one:

1. Take the answers that are ready, in the order of their offsets; a late one holds back those after it.
2. Build their records: results, and dead letters for those that failed.
3. Write the records and the next input offset as one (`outlet.write`: begin, send, add the offset, wait until
   the broker has everything, commit).
4. If that failed, or nobody knows: open the outlet anew. That fences all former writers, this one's past
   included, and only then tells what was committed. Committed after all: go on. Untouched: from step 3 again.
   Anything else: another worker was here; give up the session.
5. Say what is done: memory is freed, metrics count.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from aiokafka import TopicPartition

from stream.outlet import FencedError, Outlet, RecordTooLargeError
from stream.quarantine import Suspicion
from stream.records import Item, OutputRecord
from workers.errors import FatalError, PipelineError, TransientError

logger = logging.getLogger(__name__)

ATTEMPTS: Final = 5
"""Times one chunk is tried before the session starts anew."""

FIRST_BACKOFF_S: Final = 0.2

SMALLER_TWICE: Final = 2
"""What is too large is made smaller so often: a result becomes a dead letter, that one loses its value."""

LET_GO_TIMEOUT_S: Final = 2.0
"""To say on leaving that nothing died: one round trip. Unsaid, the next owner looks closer for a while."""

Build = Callable[[Sequence[Item], bool], list[OutputRecord]]
"""Turns answers into records; True makes what was too large for the broker smaller."""

Done = Callable[[Sequence[Item]], None]


class PartitionDelivery:
    """Writes a partition's answers in order, one chunk at a time. One event loop owns it.

    Args:
        partition: the input partition.
        outlet: where its answers go.
        build: turns answers into records.
        done: told of each chunk that was committed.
        max_items: answers in one chunk at most.
        owner: names this process in the notes beside the offsets; see stream/quarantine.py.
    """

    def __init__(
        self,
        partition: TopicPartition,
        outlet: Outlet,
        build: Build,
        done: Done,
        *,
        max_items: int,
        owner: str = "-",
    ) -> None:
        self.partition = partition
        self.suspicion = Suspicion(owner)
        self.next_offset = 0
        """The lowest offset not yet taken in; records below it were read before the seek."""
        self.pending = 0
        """Inputs taken in and not yet committed."""
        self.pending_bytes = 0
        self.closed = False
        self._outlet = outlet
        self._build = build
        self._done = done
        self._max_items = max_items
        self._committed: int | None = None
        self._ready: deque[Item] = deque()
        self._wake = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._progress = asyncio.Event()
        self.writing_since: float | None = None
        """When it began to write the chunk that it is writing, on the monotonic clock."""
        self._writing = asyncio.Lock()
        self._noting: asyncio.Task[None] | None = None

    async def open(self) -> int | None:
        """Become the only writer; give the committed offset, None where there is none."""
        self._committed = await self._outlet.open()
        self.next_offset = self._committed or 0
        if self._committed is not None:
            self.suspicion.opened(self._committed, getattr(self._committed, "note", ""))
        return self._committed

    def took(self, count: int, size_bytes: int, next_offset: int) -> None:
        """Account for inputs taken in; each of them is answered once."""
        self.pending += count
        self.pending_bytes += size_bytes
        self.next_offset = next_offset
        self._drained.clear()

    def answer(self, answers: Sequence[Item]) -> None:
        """Hand over answers, in the order of their offsets.

        One whose outcome is still None comes late: `wake` says when it is there.
        """
        self._ready.extend(answers)
        self._wake.set()

    def wake(self) -> None:
        """An answer that was late is there."""
        self._wake.set()

    async def note(self, text: str, first_offset: int) -> None:
        """Write a note beside the committed offset, and nothing else; see stream/quarantine.py.

        Args:
            text: what to write.
            first_offset: the first input's, to be committed where nothing is yet.

        Returns where the partition is let go meanwhile: whoever waits for a note is not the one who lets go.

        Raises:
            FencedError, TransientError, FatalError: as in `run`.
        """
        if self.closed:
            return
        task = self._noting = asyncio.create_task(self._note(text, first_offset))
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()

    async def passed(self, offset: int) -> None:
        """Wait until an offset is committed, or the partition is let go."""
        while not self.closed and (self._committed is None or self._committed <= offset):
            self._progress.clear()
            await self._progress.wait()

    async def drained(self) -> None:
        """Wait until all that was taken in is committed."""
        await self._drained.wait()

    async def run(self) -> None:
        """Deliver until cancelled.

        Raises:
            FencedError: another worker owns the partition.
            TransientError: the broker did not take a chunk in several tries.
            FatalError: it never will.
        """
        while True:
            await self._wake.wait()
            # 1. Take the answers that are ready, in the order of their offsets.
            chunk: list[Item] = []
            while self._ready and len(chunk) < self._max_items and self._ready[0].outcome is not None:
                chunk.append(self._ready.popleft())
            if not self._ready or self._ready[0].outcome is None:
                self._wake.clear()
            if chunk:
                await self._deliver(chunk)

    async def close(self) -> None:
        """Give up what is not committed and let go of the partition."""
        self.closed = True
        self._progress.set()
        self._ready.clear()
        if self._noting is not None:
            self._noting.cancel()  # an outlet that is closed under it would never answer
            await asyncio.gather(self._noting, return_exceptions=True)
        if self.suspicion.noted and not self.pending and self._committed is not None:
            with suppress(PipelineError, TimeoutError):
                async with asyncio.timeout(LET_GO_TIMEOUT_S):
                    await self._outlet.write([], self._committed, self.suspicion.let_go())
        await self._outlet.close()

    async def blameless(self) -> None:
        """Say that this process ends for reasons of its own, not over an input. Nothing else may run.

        The outlet is opened anew, for a transaction may be under way.
        """
        if not (self.suspicion.noted and self.pending) or self._committed is None:
            return
        with suppress(PipelineError, TimeoutError):
            async with asyncio.timeout(LET_GO_TIMEOUT_S):
                if await self._outlet.open() == self._committed:
                    await self._outlet.write([], self._committed, self.suspicion.let_go())

    async def _deliver(self, chunk: list[Item]) -> None:
        self.writing_since = time.monotonic()
        async with self._writing:
            await self._write_fitting(chunk)
        self.writing_since = None
        # 5. Say what is done.
        self.pending -= len(chunk)
        self.pending_bytes -= sum(answer.size_bytes for answer in chunk)
        if not self.pending:
            self._drained.set()
        self._done(chunk)
        self._progress.set()

    async def _note(self, text: str, first_offset: int) -> None:
        async with self._writing:
            offset = first_offset if self._committed is None else int(self._committed)
            await self._write([], offset, text)

    async def _write_fitting(self, chunk: Sequence[Item]) -> None:
        """Write a chunk; where something in it is too large, in halves, until that stands alone."""
        next_offset = chunk[-1].record.offset + 1
        note = self.suspicion.working(next_offset, self.next_offset)
        try:
            await self._write(chunk, next_offset, note)
        except RecordTooLargeError:
            half = len(chunk) // 2
            await self._write_fitting(chunk[:half])
            await self._write_fitting(chunk[half:])

    async def _write(self, chunk: Sequence[Item], next_offset: int, note: str) -> None:
        too_large = 0
        for attempt in range(1, ATTEMPTS + 1):
            # 2. Build their records.
            records = self._build(chunk, too_large > 0) if chunk else []
            try:
                # 3. Write the records and the next input offset as one.
                await self._outlet.write(records, next_offset, note)
                break
            except RecordTooLargeError:
                too_large += 1
                if too_large > SMALLER_TWICE:
                    raise FatalError("the broker refuses even the facts of a dead letter") from None
                if len(chunk) > 1:
                    await self._was_committed(next_offset)
                    raise
            except TransientError as error:
                if attempt == ATTEMPTS:
                    raise
                logger.warning("%s: %s; attempt %d", self.partition, error, attempt)
                await asyncio.sleep(FIRST_BACKOFF_S * 2 ** (attempt - 1))
            # 4. It failed, or nobody knows: fence, and ask what was committed.
            if await self._was_committed(next_offset):
                break
        else:
            raise TransientError(f"{self.partition}: not written in {ATTEMPTS} attempts", reason="delivery")
        self._committed = next_offset

    async def _was_committed(self, next_offset: int) -> bool:
        found = await self._outlet.open()
        if found == self._committed:
            return False  # a note alone, which moves no offset, is written once more
        if found == next_offset:
            return True
        raise FencedError(
            f"{self.partition}: committed offset is {found}, not {self._committed} or {next_offset}: "
            "another worker was here"
        )
