"""One transaction for all partitions of a worker: what is ready when the last one ends goes into the next.

A transaction costs the worker and the broker some milliseconds each, whatever is in it, so there is one at a
time and it takes all that waits (databases call that a group commit). Its producer takes a name that nobody
has had, and claims all partitions under it (stream/claims.py); a producer that failed is given up, and the
next one claims them again. See docs/adr/0007.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from stream.claims import Claims
from stream.clients import stop_quietly
from stream.outlet import (
    ABORT_TIMEOUT_S,
    GIVE_UP_S,
    REFUSED,
    Committed,
    FencedError,
    RecordTooLargeError,
    abort_quietly,
    all_of,
    beside,
    hand_over,
    translated,
)
from stream.records import OutputRecord
from workers.errors import TransientError

APART: Final = 16
"""So many transactions take one partition each after a record was too large: which one's, its own transaction
tells, and its neighbours are written all the same."""


class TransactionalOutlet:
    """A partition's answers and its offset in one transaction, which others may share; see Outlet."""

    def __init__(self, partition: TopicPartition, transactions: "Transactions") -> None:
        self._partition = partition
        self._transactions = transactions

    async def open(self) -> Committed:
        """Fence all former writers, which aborts what they left open; see Outlet."""
        return await self._transactions.open(self._partition, self)

    async def write(self, records: Sequence[OutputRecord], next_offset: int, note: str = "") -> None:
        """Write with the next transaction; see Outlet."""
        await self._transactions.write(self._partition, self, records, next_offset, note)

    async def close(self) -> None:
        """Let go; see Outlet."""
        await self._transactions.leave(self._partition, self)


@dataclass
class _Request:
    """What one partition has for a transaction."""

    partition: TopicPartition
    records: Sequence[OutputRecord]
    next_offset: int
    note: str
    done: "asyncio.Future[None]"

    def settle(self, error: BaseException | None) -> None:
        if not self.done.done():
            self.done.set_result(None) if error is None else self.done.set_exception(error)


class Transactions:
    """The one writer of a session's partitions. One event loop owns it.

    Args:
        group: the consumer group whose offsets are committed.
        make_producer: makes a producer with a transactional id, not yet started.
        claims: makes partitions ours.
        new_name: gives a transactional id that nobody has had.
    """

    def __init__(
        self,
        group: str,
        make_producer: Callable[[str], AIOKafkaProducer],
        claims: Claims,
        new_name: Callable[[], str] | None = None,
    ) -> None:
        self._group = group
        self._make_producer = make_producer
        self._claims = claims
        self._new_name = new_name or (lambda: f"{group}.writer.{uuid.uuid4().hex}")
        self._name = ""
        self._producer: AIOKafkaProducer | None = None
        self._broken = False
        """Whether a transaction failed since the partitions were claimed: its producer is of no more use."""
        self._opening = asyncio.Lock()
        self._owners: dict[TopicPartition, object] = {}
        """Whose each partition is that takes part: of two who opened it the later one."""
        self._standing: dict[TopicPartition, int] = {}
        """What is committed, as far as we know."""
        self._claimed: dict[TopicPartition, Committed] = {}
        """What was found when a partition was claimed, until it is told or writes."""
        self._waiting: list[_Request] = []
        self._in_flight: list[_Request] = []
        self._running: asyncio.Task[None] | None = None
        self._landed = asyncio.Event()
        """Set while no transaction is under way."""
        self._landed.set()
        self._apart = 0

    async def open(self, partition: TopicPartition, owner: object) -> Committed:
        """Take a partition in, or take it up after a failure; give what is committed.

        After a failure all partitions are claimed again, once for all that ask.

        Raises:
            TransientError, FatalError: it can't be claimed.
        """
        if self._owners.get(partition) is not owner:
            self._drop(partition)
        self._owners[partition] = owner
        await asyncio.sleep(0)  # all that are opened in this turn of the loop are claimed together
        async with self._opening:
            if partition not in self._claimed:
                await self._open_all()
            found = self._claimed.pop(partition)
        self._standing[partition] = int(found)
        return found

    async def write(
        self,
        partition: TopicPartition,
        owner: object,
        records: Sequence[OutputRecord],
        next_offset: int,
        note: str,
    ) -> None:
        """Write with the next transaction; see Outlet.write."""
        if self._producer is None or self._broken:
            async with self._opening:
                if partition in self._owners and (self._producer is None or self._broken):
                    await self._open_all()
        if self._owners.get(partition) is not owner:
            raise TransientError(f"{partition} is closed", reason="delivery")
        self._go_on_with(partition)
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(_Request(partition, records, next_offset, note, done))
        self._go()
        await done

    async def leave(self, partition: TopicPartition, owner: object) -> None:
        """Let a partition go: nothing is begun for it any more, and what is under way is waited for.

        With the last one the producer is stopped, and what is still open is aborted, so that readers need not
        wait for its timeout.
        """
        if self._owners.get(partition) is not owner:
            return
        del self._owners[partition]
        self._drop(partition)
        if any(request.partition == partition for request in self._in_flight):
            with suppress(TimeoutError):
                async with asyncio.timeout(ABORT_TIMEOUT_S):
                    await self._landed.wait()
        if not self._owners:
            async with self._opening:
                if not self._owners:
                    await self._stop()

    def _drop(self, partition: TopicPartition) -> None:
        """Forget what a former owner had waiting, or was told."""
        self._standing.pop(partition, None)
        self._claimed.pop(partition, None)
        for request in self._waiting:
            if request.partition == partition:
                request.settle(TransientError(f"{partition} is closed", reason="delivery"))

    async def _open_all(self) -> None:
        """Take a new name, and claim all partitions under it."""
        await self._give_up()
        self._claimed.clear()
        name = self._new_name()
        producer = self._make_producer(name)
        try:
            await producer.start()  # before its name stands anywhere: from then on others start it to end it
            found = await self._claims.claim(list(self._owners), name)
        except BaseException as error:
            await stop_quietly(producer, GIVE_UP_S)
            if not isinstance(error, (KafkaError, *REFUSED)):
                raise
            told = translated(error)
            for request in self._waiting:
                request.settle(told)
            raise told from error
        self._name, self._producer, self._broken = name, producer, False
        self._claimed = {
            partition: offset for partition, offset in found.items() if partition in self._owners
        }
        for request in self._waiting:
            try:
                self._go_on_with(request.partition)
            except FencedError as fenced:
                request.settle(fenced)
        self._go()

    def _go_on_with(self, partition: TopicPartition) -> None:
        """Where all were claimed again, see that a partition that did not ask is as it left it.

        Raises:
            FencedError: it is not.
        """
        found = self._claimed.pop(partition, None)
        if found is not None and found != self._standing.get(partition):
            raise FencedError(
                f"{partition}: committed offset is {found}, not {self._standing.get(partition)}: "
                "another worker was here"
            )

    # Writing

    def _go(self) -> None:
        if self._running is None and self._waiting:
            # What other partitions have ready in this turn of the loop is there when the task begins.
            self._running = asyncio.create_task(self._run(), name="transactions")

    async def _run(self) -> None:
        try:
            while not self._broken and (requests := self._next()):
                await self._land(requests)
        finally:
            self._running = None

    def _next(self) -> list[_Request]:
        """Take what waits: all of it, or one after a record was too large."""
        self._waiting = [request for request in self._waiting if not request.done.done()]
        count = 1 if self._apart else len(self._waiting)
        requests, self._waiting = self._waiting[:count], self._waiting[count:]
        return requests

    async def _land(self, requests: list[_Request]) -> None:
        """Run one transaction, and tell those whose it was."""
        self._in_flight = requests
        self._landed.clear()
        error: BaseException | None = TransientError("the transaction was given up", reason="delivery")
        try:
            await self._transact(requests)
            error = None
        except (KafkaError, *REFUSED) as refused:
            error = translated(refused)
        except Exception as other:
            error = other
        finally:
            self._broken = error is not None
            self._in_flight = []
            self._landed.set()
            if error is None:
                self._apart = max(0, self._apart - 1)
                self._standing.update(
                    (request.partition, request.next_offset)
                    for request in requests
                    if request.partition in self._standing
                )
            elif isinstance(error, RecordTooLargeError) and len(requests) > 1:
                self._apart = APART
                error = TransientError("a record beside it is too large for the broker", reason="delivery")
            for request in requests:
                request.settle(error)

    async def _transact(self, requests: Sequence[_Request]) -> None:
        producer = self._producer
        if producer is None:
            raise TransientError("the outlet is closed")
        await producer.begin_transaction()
        # The offsets are added while the records are under way; both are awaited before the commit. The
        # records come first: where the broker still writes the last transaction's markers, aiokafka waits
        # a few milliseconds with a partition, but a tenth of a second with a group.
        sent: list[Awaitable[object]] = []
        for request in requests:
            sent += await hand_over(producer, request.records, request.partition.partition)
        offsets = {
            request.partition: OffsetAndMetadata(request.next_offset, beside(self._name, request.note))
            for request in requests
        }
        await all_of(*sent, producer.send_offsets_to_transaction(offsets, self._group))
        await producer.commit_transaction()

    # Ending

    async def _end_running(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            self._running = None  # a task that never began does not say so itself

    async def _give_up(self) -> None:
        """End the producer, whatever it is about; who claims next aborts what it leaves open."""
        producer, self._producer = self._producer, None
        await self._end_running()
        if producer is not None:
            await stop_quietly(producer, GIVE_UP_S)

    async def _stop(self) -> None:
        await self._end_running()
        if self._producer is not None and self._broken:
            await abort_quietly(self._producer)
        await self._give_up()
