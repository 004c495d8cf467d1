"""Reads a compacted topic without a consumer group: the newest record of each key first, then what comes."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from config import KafkaSettings
from stream import clients
from stream.connection import why_refused
from stream.outlet import translated
from stream.read_ahead import CHUNK
from workers.base import Change
from workers.errors import TransientError

POLL_MS: Final = 500


class ControlTopic:
    """Reads a compacted topic: the newest record of each key first, then what comes.

    Args:
        settings: how to reach the brokers.
        topic: its name.
    """

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self.topic = topic
        self._consumer: AIOKafkaConsumer = clients.reader(settings, from_start=True)

    async def open(self) -> None:
        """Connect.

        Raises:
            TransientError: the broker does not answer.
        """
        try:
            await self._consumer.start()
        except (KafkaError, OSError) as error:
            await self.close()
            raise translated(error) from error

    async def close(self) -> None:
        """Let go."""
        await clients.stop_quietly(self._consumer)

    async def topics(self) -> set[str]:
        """The topics that the broker has.

        Raises:
            TransientError: the broker does not answer.
        """
        try:
            return set(await self._consumer.topics())
        except (KafkaError, OSError) as error:
            raise translated(error) from error

    async def exists(self) -> bool:
        """Whether the broker has the topic; a look does not create it."""
        return self.topic in await self.topics()

    async def read_whole(self) -> list[Change]:
        """Read from the beginning to what is the end now; the newest record of each key, oldest first.

        Raises:
            TransientError: the broker does not answer.
        """
        newest: dict[str, Change] = {}
        try:
            partitions = await clients.assign_whole(self._consumer, self.topic)
            await self._consumer.seek_to_beginning(*partitions)
            ends = await self._consumer.end_offsets(partitions)
            while any([await self._consumer.position(tp) < end for tp, end in ends.items()]):
                for change in _changes(await self._consumer.getmany(timeout_ms=POLL_MS)):
                    newest.pop(change.key, None)  # to stand where the newest stands
                    newest[change.key] = change
        except (KafkaError, OSError) as error:
            raise translated(error) from error
        return list(newest.values())

    async def follow(self) -> AsyncIterator[list[Change]]:
        """Yield changes as they come, after `read_whole`.

        Raises:
            TransientError: the broker does not answer.
        """
        try:
            while True:
                found = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=CHUNK)
                if found:
                    yield _changes(found)
        except (KafkaError, OSError) as error:
            raise translated(error) from error


def _changes(found: dict[TopicPartition, Sequence[Any]]) -> list[Change]:
    return [
        Change(
            (record.key or b"").decode("utf-8", "replace"),
            record.value,
            tuple(record.headers),
            record.timestamp,
        )
        for records in found.values()
        for record in records
    ]


async def read_control(settings: KafkaSettings, topic: str) -> list[Change]:
    """Read a control topic once, for a command; empty where it does not exist.

    Raises:
        TransientError: the broker does not answer.
        FatalError: it does not let this client in.
    """
    control = ControlTopic(settings, topic)
    try:
        await control.open()
    except TransientError as error:
        raise await why_refused(settings, error) from error
    try:
        return await control.read_whole() if await control.exists() else []
    finally:
        await control.close()
