"""The embedded broker speaks enough Kafka for aiokafka to produce, consume and commit in transactions."""

from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from stream.embedded import ApiKey, EmbeddedBroker
from stream.topics import TopicNames
from workers.errors import FatalError

NOT_ENOUGH_REPLICAS = 19  # Kafka protocol error code, retriable
MESSAGE_TOO_LARGE = 10  # Kafka protocol error code, not retriable


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


async def _produce(broker: EmbeddedBroker, topic: str, values: list[bytes]) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap, enable_idempotence=True, acks="all"
    ) as producer:
        for value in values:
            await producer.send_and_wait(topic, value, partition=0)


async def _consume(broker: EmbeddedBroker, topic: str, count: int, **options: object) -> list[bytes]:
    async with AIOKafkaConsumer(
        topic, bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest", **options
    ) as consumer:
        return [(await consumer.getone()).value for _ in range(count)]


async def test_what_is_produced_is_consumed_in_order(broker):
    broker.create_topic("t", 1)
    values = [str(n).encode() for n in range(50)]
    await _produce(broker, "t", values)
    assert await _consume(broker, "t", 50) == values


async def test_topics_have_the_partitions_of_their_specs(broker):
    specs = TopicNames().specs(3)
    broker.create_topics(specs)
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    found = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics(None)}
    await admin.close()
    assert {name: found[name] for name in TopicNames().all()} == {
        spec.name: spec.partitions for spec in specs
    }


async def test_a_transaction_carries_results_but_its_offsets_are_forgotten(broker):
    """The second half is a limit of the mock cluster that the module's docstring names."""
    broker.create_topic("in", 1)
    broker.create_topic("out", 1)
    await _produce(broker, "in", [b"a", b"b"])
    partition = TopicPartition("in", 0)
    async with (
        AIOKafkaConsumer(
            "in",
            bootstrap_servers=broker.bootstrap,
            group_id="g",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        ) as consumer,
        AIOKafkaProducer(bootstrap_servers=broker.bootstrap, transactional_id="g.in.0") as producer,
    ):
        first, second = await consumer.getone(), await consumer.getone()
        async with producer.transaction():
            await producer.send("out", first.value.upper())
            await producer.send("out", second.value.upper())
            await producer.send_offsets_to_transaction({partition: second.offset + 1}, "g")
        assert await consumer.committed(partition) is None
        await consumer.commit({partition: second.offset + 1})
        assert await consumer.committed(partition) == 2
    assert await _consume(broker, "out", 2, isolation_level="read_committed") == [b"A", b"B"]


async def test_pushed_errors_are_answered_once_each(broker):
    broker.create_topic("t", 1)
    broker.push_errors(ApiKey.PRODUCE, [NOT_ENOUGH_REPLICAS])
    await _produce(broker, "t", [b"retried"])
    assert await _consume(broker, "t", 1) == [b"retried"]

    broker.push_errors(ApiKey.PRODUCE, [MESSAGE_TOO_LARGE])
    with pytest.raises(Exception, match=r"(?i)too.?large"):
        await _produce(broker, "t", [b"refused"])


async def test_a_group_gets_its_partitions_without_the_three_second_wait(broker):
    broker.create_topic("t", 2)
    async with AIOKafkaConsumer("t", bootstrap_servers=broker.bootstrap, group_id="g") as consumer:
        assert len(consumer.assignment()) == 2


def test_a_topic_is_created_once(broker):
    broker.create_topic("t", 1)
    with pytest.raises(FatalError, match="embedded broker"):
        broker.create_topic("t", 1)


def test_several_run_side_by_side_and_closing_twice_is_fine():
    with EmbeddedBroker(brokers=3) as one, EmbeddedBroker() as two:
        assert len(one.bootstrap.split(",")) == 3
        assert one.bootstrap != two.bootstrap
        one.close()
    with pytest.raises(RuntimeError, match="not running"):
        one.bootstrap  # noqa: B018
