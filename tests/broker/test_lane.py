"""What a lane promises, on the embedded broker and on a real Kafka alike."""

import asyncio
import threading
from collections.abc import Sequence

import orjson
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from schemas import Post, TextResult
from stream import clients
from stream.claims import Claims
from stream.client import Outgoing
from stream.dead_letter import from_headers
from stream.lane import Lane
from stream.outlet import FencedError, beginning_reader, committed_reader
from stream.records import OutputRecord
from stream.transactions import TransactionalOutlet, Transactions
from tests.support.lanes import committed_and_end, everything, fresh_settings, running, send, until
from tests.support.workers import EchoWorker


def post(identity: str, text: str = "goal!") -> Outgoing:
    return Outgoing(identity.encode(), orjson.dumps({"id": identity, "text": text}))


BAD = {
    "not_json": b"{not json",
    "bad_encoding": b'{"id": "x", "text": "\xff\xfe"}',
    "schema": b'{"id": "x", "text": 7}',
    "unknown_field": b'{"id": "x", "text": "fine", "txet": "?"}',
    "empty_text": b'{"id": "x", "text": "  "}',
    "too_large": orjson.dumps({"id": "x", "text": "a" * 400_000}),
}


async def test_each_post_gets_one_result_that_says_where_it_was_read(bootstrap: str) -> None:
    settings = fresh_settings(bootstrap)
    ids = [f"p{i}" for i in range(500)]
    await send(settings, "posts", [post(i) for i in ids])
    async with running(settings, EchoWorker()):
        await until(lambda: _count(settings, "labels", 500))
    results = [TextResult.model_validate_json(r.value or b"") for r in await everything(settings, "labels")]
    assert sorted(ids) == sorted(result.id for result in results)
    assert len({result.result_id for result in results}) == 500
    sources = {(result.source.topic, result.source.partition, result.source.offset) for result in results}
    assert len(sources) == 500


async def test_results_are_cloud_events_with_the_key_of_their_post(bootstrap: str) -> None:
    settings = fresh_settings(bootstrap)
    await send(
        settings, "posts", [Outgoing(b"a-key", b'{"id": "p", "text": "x"}', (("traceparent", b"00-1"),))]
    )
    async with running(settings, EchoWorker()):
        await until(lambda: _count(settings, "labels", 1))
    (record,) = await everything(settings, "labels")
    headers = dict(record.headers)
    assert record.key == b"a-key"
    assert headers["ce_specversion"] == b"1.0"
    assert headers["ce_type"] == b"feedsight.label.v1"
    assert headers["content-type"] == b"application/json"
    assert headers["traceparent"] == b"00-1"
    assert headers["ce_id"].decode() == orjson.loads(record.value or b"")["result_id"]


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
async def test_bad_input_becomes_one_dead_letter_and_its_neighbours_get_their_results(
    bootstrap: str, delivery: str
) -> None:
    settings = fresh_settings(bootstrap, lane={"delivery": delivery})
    mixed = [post("good-0")]
    for number, value in enumerate(BAD.values()):
        mixed += [Outgoing(b"bad", value), post(f"good-{number + 1}")]
    await send(settings, "posts", mixed)
    await _send_null(settings)
    async with running(settings, EchoWorker()):
        await until(lambda: _count(settings, "labels", len(BAD) + 1))
        await until(lambda: _count(settings, "dead-letters", len(BAD) + 1))
    letters = await everything(settings, "dead-letters")
    facts = {from_headers(letter.headers).reason: letter for letter in letters}
    assert {*BAD, "null_value"} == set(facts)
    for reason, value in BAD.items():
        found = from_headers(facts[reason].headers)
        assert facts[reason].value == value
        assert facts[reason].key == b"bad"
        assert found.topic == settings.topics.prefix + "posts"
        assert dict(facts[reason].headers)["source_offset"] == str(found.offset).encode()
    results = {orjson.loads(r.value or b"")["id"] for r in await everything(settings, "labels")}
    assert {f"good-{n}" for n in range(len(BAD) + 1)} == results


async def test_a_post_that_makes_the_model_fail_is_dead_lettered_alone(bootstrap: str) -> None:
    def misbehave(posts: Sequence[Post]) -> None:
        if any(p.id == "poison" for p in posts):
            raise RuntimeError("the model can't take this")

    settings = fresh_settings(bootstrap)
    await send(settings, "posts", [post("a"), post("poison"), *(post(f"b{i}") for i in range(30))])
    async with running(settings, EchoWorker(misbehave)):
        await until(lambda: _count(settings, "labels", 31))
        await until(lambda: _count(settings, "dead-letters", 1))
    (letter,) = await everything(settings, "dead-letters")
    assert from_headers(letter.headers).reason == "model_failed"
    assert orjson.loads(letter.value or b"")["id"] == "poison"


@pytest.mark.broker
async def test_a_restarted_lane_goes_on_where_the_former_one_committed(real_bootstrap: str) -> None:
    settings = fresh_settings(real_bootstrap)
    await send(settings, "posts", [post(f"p{i}") for i in range(100)])
    async with running(settings, EchoWorker()):
        await until(lambda: _count(settings, "labels", 100))
    await send(settings, "posts", [post(f"q{i}") for i in range(100)])
    async with running(settings, EchoWorker()):
        await until(lambda: _count(settings, "labels", 200))
    committed, end = await committed_and_end(settings, "text", "posts")
    assert committed == end
    ids = [orjson.loads(r.value or b"")["id"] for r in await everything(settings, "labels")]
    assert len(set(ids)) == len(ids) == 200


@pytest.mark.broker
async def test_two_lanes_share_the_partitions_and_none_answers_twice(real_bootstrap: str) -> None:
    settings = fresh_settings(real_bootstrap)
    await send(settings, "posts", [post(f"p{i}") for i in range(400)])
    async with running(settings, EchoWorker()), running(settings, EchoWorker()):
        for wave in range(5):
            await send(settings, "posts", [post(f"w{wave}-{i}") for i in range(200)])
        await until(lambda: _count(settings, "labels", 1_400))
    ids = [orjson.loads(r.value or b"")["id"] for r in await everything(settings, "labels")]
    assert len(set(ids)) == len(ids) == 1_400


@pytest.mark.broker
async def test_a_zombie_is_fenced_and_commits_nothing(real_bootstrap: str) -> None:
    settings = fresh_settings(real_bootstrap)
    await send(settings, "posts", [post(f"p{i}") for i in range(40)])
    partition = TopicPartition(settings.topics.prefix + "posts", 0)
    group = settings.kafka.group + ".text"

    consumer = clients.lane_consumer(settings.kafka, group)
    await consumer.start()

    def make(name: str) -> AIOKafkaProducer:
        return clients.transactional_producer(settings.kafka, name, 60_000)

    def outlet() -> TransactionalOutlet:
        claims = Claims(group, make, committed_reader(consumer), beginning_reader(consumer))
        return TransactionalOutlet(partition, Transactions(group, make, claims))

    zombie, owner = outlet(), outlet()
    await zombie.open()
    await owner.open()
    record = OutputRecord(settings.topics.prefix + "labels", b"k", b"{}", [])
    with pytest.raises(FencedError):
        await zombie.write([record], 5)
    await owner.write([record], 3)
    await zombie.close()
    await owner.close()
    await consumer.stop()
    assert len(await everything(settings, "labels")) == 1
    found, _ = await committed_and_end(settings, "text", "posts")
    assert found[0] == 3


@pytest.mark.broker
async def test_an_unknown_outcome_is_settled_by_asking_what_was_committed(real_bootstrap: str) -> None:
    """The connection breaks right after a commit: the chunk is not written again."""
    settings = fresh_settings(real_bootstrap)
    await send(settings, "posts", [post(f"p{i}") for i in range(200)])
    broken = asyncio.Event()
    original = TransactionalOutlet.write

    async def write_then_break(
        self: TransactionalOutlet, records: list[OutputRecord], offset: int, note: str = ""
    ) -> None:
        await original(self, records, offset, note)
        if not broken.is_set():
            broken.set()
            from workers.errors import TransientError

            raise TransientError("the answer to the commit was lost", reason="delivery")

    TransactionalOutlet.write = write_then_break  # type: ignore[method-assign, assignment]
    try:
        async with running(settings, EchoWorker()):
            await until(lambda: _count(settings, "labels", 200))
    finally:
        TransactionalOutlet.write = original  # type: ignore[method-assign]
    ids = [orjson.loads(r.value or b"")["id"] for r in await everything(settings, "labels")]
    assert broken.is_set()
    assert len(set(ids)) == len(ids) == 200


async def _count(settings, topic: str, wanted: int) -> bool:  # type: ignore[no-untyped-def]
    found = len(await everything(settings, topic))
    assert found <= wanted, f"{found} records, {wanted} wanted"
    return found == wanted


async def _send_null(settings) -> None:  # type: ignore[no-untyped-def]
    producer = clients.idempotent_producer(settings.kafka)
    await producer.start()
    await producer.send_and_wait(settings.topics.prefix + "posts", None, key=b"tombstone")
    await producer.stop()


async def test_what_is_in_flight_stays_within_the_limit(bootstrap: str) -> None:
    settings = fresh_settings(bootstrap, lane={"max_queue_items": 50}, text={"max_batch_items": 20})
    await send(settings, "posts", [post(f"p{i}") for i in range(1_000)])
    pending: list[int] = []
    paused: list[bool] = []

    async def look(lane: Lane) -> bool:
        snapshot = lane.snapshot()
        pending.append(snapshot.in_flight)
        paused.append(lane.paused)
        return await _count(settings, "labels", 1_000)

    def slow(_: Sequence[Post]) -> None:
        gate.wait(0.02)

    gate = threading.Event()
    async with running(settings, EchoWorker(slow)) as lane:
        await until(lambda: look(lane))
    assert max(pending) <= 50
    assert any(paused)


@pytest.mark.broker
async def test_a_lane_that_starts_before_its_topic_exists_takes_it_up(real_bootstrap: str) -> None:
    settings = fresh_settings(real_bootstrap)
    async with running(settings, EchoWorker()) as lane:
        assert lane.state == "joining"
        await send(settings, "posts", [post(f"p{i}") for i in range(20)])
        await until(lambda: _count(settings, "labels", 20), 30)
