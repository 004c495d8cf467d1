"""What the learner says: new versions, what came of corrections, and dead letters."""

import logging
from datetime import UTC, datetime
from typing import Any, Final, cast

from config import Settings
from schemas import LabelSet, WorkerEvent
from stream.client import Incoming, Outgoing, Publisher
from stream.dead_letter import facts_of, to_record
from stream.records import InputRecord
from stream.topics import TopicNames
from workers.errors import MessageError, TransientError
from workers.text.control import archive_key
from workers.text.learning.refit import Refit

logger = logging.getLogger(__name__)

LANE: Final = "learn"
"""Of events: no lane that takes posts, so nobody waits for it to take a version over."""

MAX_LABEL_SET_BYTES: Final = 900_000
"""Below a broker's default message.max.bytes, with room for headers."""


class LearnerPublisher:
    """Publishes without duplicates on retry; a connection for each, as there are few.

    Args:
        settings: all settings.
        worker: the process's name in events.
    """

    def __init__(self, settings: Settings, worker: str) -> None:
        self._settings = settings
        self._names = TopicNames(settings.topics.prefix)
        self._worker = worker

    async def publish(self, before: LabelSet, label_set: LabelSet, found: Refit) -> bool:
        """Publish a new version: archived first, so that there is never one in force without its archive.

        Returns:
            Whether it was published: not where it is larger than a broker takes.

        Raises:
            TransientError: the broker does not answer; nothing may be in force, or all.
        """
        value = label_set.to_json()
        if len(value) > MAX_LABEL_SET_BYTES:
            reason = f"with its examples the label set has {len(value)} bytes"
            await self._say(before, Refit(None, reason, found.comparison, found.facts), None)
            return False
        keys = [archive_key(label_set.name, str(label_set.version)), label_set.name]
        async with Publisher(self._settings.kafka) as publisher:
            for key in keys:
                await publisher.publish(self._names.label_sets, [Outgoing(key.encode(), value)])
        await self._say(before, found, str(label_set.version))
        return True

    async def kept(self, label_set: LabelSet, found: Refit) -> None:
        """Say that a label set stays as it is, and why."""
        await self._say(label_set, found, None)

    async def dead_letter(self, record: Incoming, error: MessageError) -> None:
        """Set a correction aside that can't be used; when this returns, the broker has it."""
        source = cast("InputRecord", _AsInput(record))
        letter = to_record(source, facts_of(source, error, stage=LANE), self._names.dead_letters)
        async with Publisher(self._settings.kafka) as publisher:
            outgoing = Outgoing(letter.key, letter.value, tuple(letter.headers))
            await publisher.publish(letter.topic, [outgoing])

    async def _say(self, label_set: LabelSet, found: Refit, published: str | None) -> None:
        event = WorkerEvent(
            kind="refit",
            worker=self._worker,
            lane=LANE,
            at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            name=label_set.name,
            version=published or str(label_set.version),
            detail=f"{'published' if published else 'kept'}: {found.reason}",
            facts={"published": published is not None, "before": str(label_set.version), **found.facts},
        )
        logger.info("%s %s %s", label_set.name, event.version, event.detail)
        key = f"{self._worker}.{LANE}".encode()
        try:
            async with Publisher(self._settings.kafka) as publisher:
                await publisher.publish(self._names.metrics, [Outgoing(key, event.to_json())])
        except (
            TransientError
        ) as error:  # what was done stands, and is not to be done again for a report's sake
            logger.warning("no report was published: %s", error.detail)


class _AsInput:
    """A record under the names that dead letters know."""

    def __init__(self, record: Incoming) -> None:
        self.topic, self.partition, self.offset = record.topic, record.partition, record.offset
        self.key, self.value, self.headers = record.key, record.value, record.headers
        self.timestamp: Any = record.timestamp_ms
