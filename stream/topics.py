"""The topics: their names, what each is for, and how they are created and checked."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, for_code

from config import KafkaSettings, TopicSettings
from stream.connection import client_options, why_refused
from workers.errors import TransientError

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
KEEP: Final = -1
"""Kafka's word for no retention limit."""

VISIBLE_TIMEOUT_S: Final = 30.0

ALREADY_EXISTS: Final = 36
"""Kafka's error code TOPIC_ALREADY_EXISTS."""


@dataclass(frozen=True)
class TopicSpec:
    """What a topic should be.

    Attributes:
        name: full name, with the prefix.
        partitions: how many; a count that differs is a finding of `check`.
        cleanup: `compact` keeps the newest value of each key, `delete` drops what is older than
            `retention_ms`.
        retention_ms: milliseconds; -1 keeps everything.
        purpose: one line for people.
    """

    name: str
    partitions: int
    cleanup: Literal["delete", "compact"]
    retention_ms: int
    purpose: str

    def configs(self) -> dict[str, str]:
        """Give the topic's settings in Kafka's names."""
        return {"cleanup.policy": self.cleanup, "retention.ms": str(self.retention_ms)}


@dataclass(frozen=True)
class TopicNames:
    """The eleven topics under one prefix."""

    prefix: str = "feedsight."

    @property
    def posts(self) -> str:
        """Input: posts, JSON."""
        return self.prefix + "posts"

    @property
    def images(self) -> str:
        """Input: images, as bytes with headers or as JSON with a claim check."""
        return self.prefix + "images"

    @property
    def labels(self) -> str:
        """Results for posts."""
        return self.prefix + "labels"

    @property
    def matches(self) -> str:
        """Results for images."""
        return self.prefix + "matches"

    @property
    def dead_letters(self) -> str:
        """Inputs that can't be answered: bytes untouched, facts in headers."""
        return self.prefix + "dead-letters"

    @property
    def label_sets(self) -> str:
        """Control, compacted: label sets by name."""
        return self.prefix + "label-sets"

    @property
    def references(self) -> str:
        """Control, compacted: gallery members by id."""
        return self.prefix + "references"

    @property
    def feedback(self) -> str:
        """Corrections by people."""
        return self.prefix + "feedback"

    @property
    def review(self) -> str:
        """Items the workers are unsure of."""
        return self.prefix + "review"

    @property
    def metrics(self) -> str:
        """A snapshot per worker and interval, and events."""
        return self.prefix + "metrics"

    @property
    def diffs(self) -> str:
        """Posts that another version of a label set labels otherwise."""
        return self.prefix + "diffs"

    def all(self) -> tuple[str, ...]:
        """Give all names, inputs first."""
        return tuple(spec.name for spec in self.specs())

    def specs(self, partitions: int = 4) -> tuple[TopicSpec, ...]:
        """Say what each topic should be.

        Args:
            partitions: of the topics that carry traffic; control topics and the low-rate ones have one, so
                that whoever reads them sees one order.
        """
        return (
            TopicSpec(self.posts, partitions, "delete", 7 * DAY_MS, "posts to label"),
            TopicSpec(self.images, partitions, "delete", DAY_MS, "images to match"),
            TopicSpec(self.labels, partitions, "delete", 7 * DAY_MS, "labels of posts"),
            TopicSpec(self.matches, partitions, "delete", 7 * DAY_MS, "verdicts on images"),
            TopicSpec(
                self.dead_letters, partitions, "delete", 30 * DAY_MS, "what can't be answered, and why"
            ),
            TopicSpec(self.label_sets, 1, "compact", KEEP, "label sets in force"),
            TopicSpec(self.references, 1, "compact", KEEP, "references in force"),
            TopicSpec(self.feedback, 1, "delete", 30 * DAY_MS, "corrections by people"),
            TopicSpec(self.review, 1, "delete", 30 * DAY_MS, "items to look at"),
            TopicSpec(self.metrics, 1, "delete", DAY_MS, "snapshots and events of the workers"),
            TopicSpec(
                self.diffs, 1, "delete", 7 * DAY_MS, "what another version of a label set would change"
            ),
        )


@dataclass(frozen=True)
class TopicState:
    """A topic as it should be and as the broker has it; `partitions` is None where it is missing."""

    spec: TopicSpec
    partitions: int | None

    @property
    def problem(self) -> str | None:
        """Say what is wrong; None where all is well."""
        if self.partitions is None:
            return "missing"
        if self.partitions != self.spec.partitions:
            return f"has {self.partitions} partitions instead of {self.spec.partitions}"
        return None


async def check_topics(kafka: KafkaSettings, topics: TopicSettings) -> tuple[TopicState, ...]:
    """Compare the broker's topics with what they should be. Nothing is created.

    Raises:
        TransientError: the broker doesn't answer.
    """
    admin = await _connect(kafka)
    try:
        return await _states(admin, TopicNames(topics.prefix).specs(topics.partitions))
    except KafkaError as error:
        raise TransientError(f"Kafka at {kafka.bootstrap}: {error}") from error
    finally:
        await admin.close()


async def topic_exists(kafka: KafkaSettings, name: str) -> bool:
    """Whether the broker has a topic. Asking does not create it.

    Raises:
        TransientError: the broker doesn't answer.
    """
    admin = await _connect(kafka)
    try:
        return any(topic["topic"] == name for topic in await admin.describe_topics(None))
    except KafkaError as error:
        raise TransientError(f"Kafka at {kafka.bootstrap}: {error}") from error
    finally:
        await admin.close()


async def create_topics(kafka: KafkaSettings, topics: TopicSettings) -> tuple[str, ...]:
    """Create the topics that are missing; those that exist are left as they are.

    Returns:
        The names created. Run again, it gives none.

    Raises:
        TransientError: the broker doesn't answer or refuses.
    """
    specs = TopicNames(topics.prefix).specs(topics.partitions)
    return await create_missing(kafka, specs, topics.replication)


async def create_missing(
    kafka: KafkaSettings, specs: Sequence[TopicSpec], replication: int
) -> tuple[str, ...]:
    """Create those of some topics that are missing; see create_topics."""
    admin = await _connect(kafka)
    try:
        states = await _states(admin, specs)
        wanted = [state.spec for state in states if state.partitions is None]
        if not wanted:
            return ()
        response = await admin.create_topics(
            [
                NewTopic(spec.name, spec.partitions, replication, topic_configs=spec.configs())
                for spec in wanted
            ]
        )
        created = _created(response.topic_errors)
        await _visible(admin, wanted)
    except KafkaError as error:
        raise TransientError(f"Kafka at {kafka.bootstrap}: {error}") from error
    finally:
        await admin.close()
    return created


async def delete_topics(kafka: KafkaSettings, topics: TopicSettings) -> None:
    """Delete all topics under a prefix of ours, as a demonstration does with what it created.

    Raises:
        TransientError: the broker doesn't answer.
    """
    admin = await _connect(kafka)
    try:
        await admin.delete_topics(list(TopicNames(topics.prefix).all()))
    except KafkaError as error:
        raise TransientError(f"Kafka at {kafka.bootstrap}: {error}") from error
    finally:
        await admin.close()


async def _connect(kafka: KafkaSettings) -> Any:
    admin = AIOKafkaAdminClient(**client_options(kafka))
    try:
        await admin.start()
    except (KafkaError, OSError) as error:
        await admin.close()
        raise await why_refused(kafka, error) from error
    return admin


async def _states(admin: Any, specs: Sequence[TopicSpec]) -> tuple[TopicState, ...]:
    # All topics are listed: asking for a missing one by name makes some brokers create it.
    found = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics(None)}
    return tuple(TopicState(spec, found.get(spec.name)) for spec in specs)


async def _visible(admin: Any, specs: Sequence[TopicSpec]) -> None:
    """Wait until the brokers know new topics: in KRaft they learn of them a moment after the controller."""
    try:
        async with asyncio.timeout(VISIBLE_TIMEOUT_S):
            while any(state.partitions is None for state in await _states(admin, specs)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise TransientError(f"new topics were not to be seen within {VISIBLE_TIMEOUT_S:.0f} s") from None


def _created(topic_errors: Sequence[tuple[Any, ...]]) -> tuple[str, ...]:
    """Read a CreateTopics answer; a topic that another process made meanwhile is as good as created."""
    names = []
    for name, code, *message in topic_errors:
        if code not in (0, ALREADY_EXISTS):
            detail = message[0] if message and message[0] else for_code(code).__name__
            raise TransientError(f"topic {name} can't be created: {detail}")
        if code == 0:
            names.append(name)
    return tuple(names)
