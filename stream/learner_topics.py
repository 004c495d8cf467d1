"""Topics that the learner reads beside its agent: whole at start, then what has come since it last looked."""

from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from config import KafkaSettings
from schemas import Origin
from stream import clients
from stream.client import Incoming, incoming
from stream.connection import client_options
from stream.outlet import translated

POLL_MS: Final = 200


class TopicTail:
    """Reads a topic from its beginning on, without a group; what was read is not read again.

    Args:
        settings: how to reach the brokers.
        topic: its name; it need not exist yet.
    """

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self.topic = topic
        self._settings = settings
        self._consumer: AIOKafkaConsumer | None = None

    async def news(self) -> list[Incoming]:
        """Give all that was committed since the last call, up to what is the end now.

        Raises:
            TransientError: the broker does not answer; the next call begins again from the beginning of
                what was not given yet.
        """
        try:
            consumer = await self._connected()
            if consumer is None:
                return []
            ends = await consumer.end_offsets(list(consumer.assignment()))
            starts = {tp: await consumer.position(tp) for tp in ends}
            found: list[Incoming] = []
            try:
                while any([await consumer.position(tp) < end for tp, end in ends.items()]):
                    for records in (await consumer.getmany(timeout_ms=POLL_MS)).values():
                        found += [incoming(record) for record in records]
            except BaseException:
                for tp, start in starts.items():
                    consumer.seek(tp, start)
                raise
        except (KafkaError, OSError) as error:
            raise translated(error) from error
        return found

    async def close(self) -> None:
        """Let go."""
        if self._consumer is not None:
            await clients.stop_quietly(self._consumer)
            self._consumer = None

    async def _connected(self) -> AIOKafkaConsumer | None:
        """The consumer, with all partitions assigned; None while there is no such topic."""
        if self._consumer is None and await _partitions(self._settings, self.topic):
            consumer = clients.reader(self._settings, self.topic, from_start=True)
            try:
                await consumer.start()
            except BaseException:
                await clients.stop_quietly(consumer)
                raise
            self._consumer = consumer
        return self._consumer


async def _partitions(settings: KafkaSettings, topic: str) -> int:
    """How many partitions a topic has; 0 where there is none. A look does not create it."""
    admin = AIOKafkaAdminClient(**client_options(settings))
    try:
        await admin.start()
        # all topics are listed: asking for a missing one by name makes some brokers create it
        found = {one["topic"]: len(one["partitions"]) for one in await admin.describe_topics(None)}
        return found.get(topic, 0)
    finally:
        await admin.close()


async def read_one(settings: KafkaSettings, origin: Origin) -> Incoming | None:
    """Read one record; None where it is not there any more, or never was.

    Raises:
        TransientError: the broker does not answer.
    """
    place = TopicPartition(origin.topic, origin.partition)
    consumer = clients.reader(settings, from_start=True)
    try:
        if not 0 <= origin.partition < await _partitions(settings, origin.topic):
            return None
        await consumer.start()
        consumer.assign([place])
        first = (await consumer.beginning_offsets([place]))[place]
        end = (await consumer.end_offsets([place]))[place]
        if not first <= origin.offset < end:
            return None
        consumer.seek(place, origin.offset)
        while await consumer.position(place) <= origin.offset:
            for record in (await consumer.getmany(timeout_ms=POLL_MS, max_records=1)).get(place, []):
                return incoming(record) if record.offset == origin.offset else None
        return None
    except (KafkaError, OSError) as error:
        raise translated(error) from error
    finally:
        await clients.stop_quietly(consumer)
