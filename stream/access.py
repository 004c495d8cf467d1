"""Whether this process may do on the broker what a worker does; for `feedsight doctor`."""

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from config import KafkaSettings, TopicSettings
from stream import clients
from stream.connection import client_options
from stream.topics import TopicNames

PROBE_TIMEOUT_MS = 10_000
"""The probe's transactional id is given up by the broker after this long."""


async def transactions_refused(kafka: KafkaSettings) -> str | None:
    """Try to become a transactional producer; nothing is written.

    Returns:
        Why not; None where it works.
    """
    producer = clients.transactional_producer(kafka, f"{kafka.group}.doctor", PROBE_TIMEOUT_MS)
    try:
        await producer.start()
    except (KafkaError, OSError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        await clients.stop_quietly(producer)
    return None


async def group_refused(kafka: KafkaSettings, topics: TopicSettings) -> str | None:
    """Ask for the offsets of the text lane's group without joining it.

    Returns:
        Why not; None where it works.
    """
    posts = TopicPartition(TopicNames(topics.prefix).posts, 0)
    consumer = AIOKafkaConsumer(
        group_id=f"{kafka.group}.text", enable_auto_commit=False, **client_options(kafka)
    )
    try:
        await consumer.start()
        consumer.assign([posts])
        await consumer.committed(posts)
    except (KafkaError, OSError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        await clients.stop_quietly(consumer)
    return None
