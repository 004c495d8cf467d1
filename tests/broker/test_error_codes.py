"""Each error code that a broker may answer with: everything is answered once, or the lane ends.

The embedded broker injects them. It forgets offsets that a transaction carries, so the exactly-once lane gets
a memory of what was committed, and what counts as answered is what `write` reported as committed: aborted
records are on its topics too, as no commit marker tells its readers.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

import stream.delivery
import stream.lane
from config import Settings
from stream.client import Outgoing
from stream.embedded import ApiKey, EmbeddedBroker
from stream.outlet import Committed, CommittedOffset, IdempotentOutlet, committed_reader
from stream.records import OutputRecord
from stream.topics import TopicNames
from stream.transactions import TransactionalOutlet
from stream.watchdog import Watchdog
from tests.support.lanes import NeverEnds, fresh_settings, running, send, until
from tests.support.workers import EchoWorker

POSTS = 50
IDS = [f"p{number}" for number in range(POSTS)]
TIMES = 2
"""How often the same error comes, one request after the other."""

HEARTBEAT_MS = 100
WATCHDOG_S = 12.0
LIMIT_S = 30.0
"""Alive and idle for longer is a failure; what is injected passes at once."""

UNKNOWN, TRANSPORT = -1, -195
"""UNKNOWN_SERVER_ERROR, and librdkafka's word for closing the connection in place of an answer."""

ANY = (UNKNOWN, TRANSPORT, 7)  # 7 REQUEST_TIMED_OUT
COORDINATOR = (14, 15, 16)  # loading, not available, moved
MEMBER = (22, 25, 27)  # ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, REBALANCE_IN_PROGRESS
TRANSACTION = (47, 48, 49, 51, 52, 53, 59, 90)
# INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE, INVALID_PRODUCER_ID_MAPPING, CONCURRENT_TRANSACTIONS,
# TRANSACTION_COORDINATOR_FENCED, TRANSACTIONAL_ID_AUTHORIZATION_FAILED, UNKNOWN_PRODUCER_ID, PRODUCER_FENCED

CODES: dict[ApiKey, tuple[int, ...]] = {
    # 46 DUPLICATE_SEQUENCE_NUMBER is left out: it says that the broker has the records; here it has not.
    ApiKey.PRODUCE: (
        *(*ANY, 2, 3, 5, 6, 10, 13, 17, 18, 19, 20, 21, 29, 31, 32, 43, 45, 56, 72, 73, 74, 76, 87, 89),
        *TRANSACTION,
    ),
    ApiKey.ADD_PARTITIONS_TO_TXN: (*ANY, *COORDINATOR, *TRANSACTION, 3, 29, 55),
    ApiKey.ADD_OFFSETS_TO_TXN: (*ANY, *COORDINATOR, *TRANSACTION, 24, 30),
    ApiKey.TXN_OFFSET_COMMIT: (*ANY, *COORDINATOR, *TRANSACTION, *MEMBER, 3, 12, 24, 28, 29, 30, 82),
    ApiKey.END_TXN: (*ANY, *COORDINATOR, *TRANSACTION),
    ApiKey.INIT_PRODUCER_ID: (*ANY, *COORDINATOR, *TRANSACTION, 31, 50),
    ApiKey.FIND_COORDINATOR: (*ANY, *COORDINATOR, 24, 30, 53),
    ApiKey.JOIN_GROUP: (*ANY, *COORDINATOR, *MEMBER, 23, 24, 26, 30, 79, 81, 82),
    ApiKey.SYNC_GROUP: (*ANY, *COORDINATOR, *MEMBER, 23, 30, 82),
    ApiKey.HEARTBEAT: (*ANY, *COORDINATOR, *MEMBER, 30, 82),
    ApiKey.OFFSET_FETCH: (*ANY, *COORDINATOR, *MEMBER, 3, 29, 30, 88),
    ApiKey.OFFSET_COMMIT: (*ANY, *COORDINATOR, *MEMBER, 3, 12, 24, 28, 29, 30, 82),
    ApiKey.FETCH: (*ANY, 1, 2, 3, 5, 6, 9, 13, 29, 56, 70, 71, 74, 75, 76, 78),
    ApiKey.LIST_OFFSETS: (*ANY, 3, 5, 6, 13, 29, 43, 56, 74, 76, 78),
    ApiKey.METADATA: (*ANY, 3, 5, 17, 29),
}
"""By request: codes of the Kafka protocol that its answers may carry, and some that they should not."""

BEFORE_START = {
    *(ApiKey.INIT_PRODUCER_ID, ApiKey.FIND_COORDINATOR, ApiKey.JOIN_GROUP, ApiKey.SYNC_GROUP),
    *(ApiKey.OFFSET_FETCH, ApiKey.LIST_OFFSETS, ApiKey.METADATA),
}
"""Requests of a lane that joins; the others come while it works."""

AT_ONCE = 12
"""Cases that run side by side, each with a broker to itself: they mostly wait."""


class Memory:
    """What a real broker remembers: committed offsets, and the answers that were committed with them."""

    def __init__(self) -> None:
        self.offsets: dict[TopicPartition, int] = {}
        self.answered: Counter[str] = Counter()

    def reader(self, consumer: AIOKafkaConsumer) -> CommittedOffset:
        asks = committed_reader(consumer)

        async def committed(partition: TopicPartition) -> Committed | None:
            await asks(partition)  # the request is made, and may fail
            return Committed(self.offsets[partition]) if partition in self.offsets else None

        return committed

    def keep(self, partition: TopicPartition, records: Sequence[OutputRecord], next_offset: int) -> None:
        assert self.offsets.get(partition, -1) <= next_offset, "a committed offset went back"
        self.offsets[partition] = next_offset
        self.answered.update(orjson.loads(record.value or b"")["id"] for record in records)


memory_of_this_case: ContextVar[Memory] = ContextVar("memory_of_this_case")


@pytest.fixture(autouse=True)
def remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-offs are short, and each case remembers what was committed."""
    for outlet in (TransactionalOutlet, IdempotentOutlet):
        write = outlet.write

        async def and_kept(self: Any, records: Any, next_offset: int, *more: Any, write: Any = write) -> None:
            await write(self, records, next_offset, *more)
            memory_of_this_case.get().keep(self._partition, records, next_offset)

        monkeypatch.setattr(outlet, "write", and_kept)
    monkeypatch.setattr(
        stream.lane, "committed_reader", lambda consumer: memory_of_this_case.get().reader(consumer)
    )
    monkeypatch.setattr(stream.delivery, "FIRST_BACKOFF_S", 0.01)
    monkeypatch.setattr(stream.lane, "FIRST_BACKOFF_S", 0.01)


@pytest.fixture(scope="module")
def brokers() -> Iterator[list[EmbeddedBroker]]:
    """Used again and again, and ended side by side: to end one takes a second."""
    found = [EmbeddedBroker().__enter__() for _ in range(AT_ONCE)]
    yield found
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(EmbeddedBroker.close, found))


@pytest.mark.parametrize("key", CODES, ids=lambda key: key.name)
async def test_after_any_error_all_is_answered_once_or_the_lane_ends(
    key: ApiKey, brokers: list[EmbeddedBroker]
) -> None:
    free = list(brokers)
    room = asyncio.Semaphore(len(free))

    async def one(code: int) -> str | None:
        async with room:
            broker = free.pop()
            memory_of_this_case.set(Memory())
            try:
                return await _case(broker, key, code)
            except TimeoutError:
                return f"{code}: alive and idle, {memory_of_this_case.get().answered.total()} of {POSTS}"
            finally:
                broker.clear_errors(key)
                free.append(broker)

    found = await asyncio.gather(*(asyncio.create_task(one(code)) for code in CODES[key]))
    assert [fault for fault in found if fault] == []


async def _case(broker: EmbeddedBroker, key: ApiKey, code: int) -> str | None:
    """Run a lane against a broker that answers with an error; say what is wrong."""
    memory = memory_of_this_case.get()
    settings = await _settings(broker, key)
    gate = threading.Event()
    worker = EchoWorker(lambda _: gate.wait(LIMIT_S) if memory.answered else None)
    if key in BEFORE_START:
        gate.set()
        broker.push_errors(key, [code] * TIMES)

    timer = NeverEnds()

    async def ended(wanted: int) -> bool:
        return memory.answered.total() >= wanted or lane.crashed or timer.fired

    async with running(settings, worker, watchdog=Watchdog(WATCHDOG_S, timer=timer)) as lane:
        try:
            if key not in BEFORE_START:
                await until(lambda: ended(1), LIMIT_S)
                broker.push_errors(key, [code] * TIMES)
                await asyncio.sleep(4 * HEARTBEAT_MS / 1_000 if key is ApiKey.HEARTBEAT else 0)
                gate.set()
            await until(lambda: ended(POSTS), LIMIT_S)
        finally:
            gate.set()
    if lane.crashed and lane.fatal is None:
        return f"{code}: crashed over {lane.crash_reason!r}"
    if lane.fatal is None and not timer.fired and memory.answered != Counter(IDS):
        return f"{code}: {memory.answered - Counter(IDS)} too many"
    if any(count > 1 for count in memory.answered.values()):
        return f"{code}: twice"
    return None


async def _settings(broker: EmbeddedBroker, key: ApiKey) -> Settings:
    """Topics with posts on them, and settings by which a lane heals fast."""
    settings = fresh_settings(
        broker.bootstrap,
        lane={
            "delivery": "at_least_once" if key is ApiKey.OFFSET_COMMIT else "exactly_once",
            "max_transaction_items": 10,
        },
        text={"max_batch_items": 10},
    )
    quick = {"heartbeat_interval_ms": HEARTBEAT_MS, "session_timeout_ms": 1_000}
    settings = settings.model_copy(update={"kafka": settings.kafka.model_copy(update=quick)})
    for spec in TopicNames(settings.topics.prefix).specs(2):
        broker.create_topic(spec.name, spec.partitions)
    posts = [Outgoing(one.encode(), orjson.dumps({"id": one, "text": "goal!"})) for one in IDS]
    await send(settings, "posts", posts)
    return settings
