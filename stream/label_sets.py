"""Label sets on their topic, as commands see them: what is in force, what was, and how one is published.

Under the key `name` stands what is in force, under `name@version` every version that was, or that waits for
`labels promote`. Both are kept by compaction.
"""

import time
from dataclasses import dataclass
from typing import Final

from aiokafka.errors import KafkaError

from config import Settings
from schemas import LabelSet
from stream import clients
from stream.control_topic import read_control
from stream.outlet import translated
from stream.topics import TopicNames, TopicSpec, create_missing
from workers.base import Change
from workers.errors import FatalError, PipelineError
from workers.text.control import archive_key, read_change
from workers.text.label_set import ARCHIVE_MARK, content_version

BY: Final = "by"
NOTE: Final = "note"
ROUTE_RETENTION_MS: Final = 7 * 24 * 3_600_000


@dataclass(frozen=True)
class Stored:
    """A label set on the topic.

    Attributes:
        label_set: itself.
        at_ms: when it was published, milliseconds since the epoch.
        by: who published it.
        note: what it is for.
    """

    label_set: LabelSet
    at_ms: int
    by: str | None = None
    note: str | None = None

    @property
    def version(self) -> str:
        """As it stands in results."""
        return str(self.label_set.version)


@dataclass(frozen=True)
class Shelf:
    """All label sets on the topic.

    Attributes:
        in_force: by name.
        archived: by name, oldest first; the one in force is among them.
        unreadable: what is wrong with other records, by key.
    """

    in_force: dict[str, Stored]
    archived: dict[str, list[Stored]]
    unreadable: dict[str, str]

    def find(self, name: str, version: str) -> Stored | None:
        """A version, archived or in force."""
        known = [*self.archived.get(name, []), *([self.in_force[name]] if name in self.in_force else [])]
        return next((stored for stored in reversed(known) if stored.version == version), None)

    def next_version(self, name: str) -> int:
        """One more than the greatest number that is a version of the set; 1 where none is."""
        known = [*self.archived.get(name, []), *([self.in_force[name]] if name in self.in_force else [])]
        numbers = [int(stored.version) for stored in known if stored.version.isdecimal()]
        return max(numbers, default=0) + 1


async def read_shelf(settings: Settings) -> Shelf:
    """Read the topic; empty where it does not exist.

    Raises:
        TransientError: the broker does not answer.
    """
    shelf = Shelf({}, {}, {})
    for change in await read_control(settings.kafka, TopicNames(settings.topics.prefix).label_sets):
        if change.value is None:
            continue
        try:
            stored = _stored(change)
        except FatalError as error:
            shelf.unreadable[change.key] = error.detail
            continue
        if ARCHIVE_MARK in change.key:
            shelf.archived.setdefault(stored.label_set.name, []).append(stored)
        else:
            shelf.in_force[change.key] = stored
    return shelf


def numbered(label_set: LabelSet, shelf: Shelf) -> LabelSet:
    """Give a label set that names no version its place: that of its equal in force, or the next number.

    Raises:
        FatalError: its version is another label set already.
    """
    name = label_set.name
    if label_set.version == content_version(label_set):  # the file gave none
        present = shelf.in_force.get(name)
        if present is not None and _content(present.label_set) == _content(label_set):
            return present.label_set
        return label_set.model_copy(update={"version": shelf.next_version(name)})
    known = shelf.find(name, str(label_set.version))
    if known is not None and _content(known.label_set) != _content(label_set):
        raise FatalError(
            f"version {label_set.version} of {name} is another label set already; "
            f"give this one a version of its own, or none ({shelf.next_version(name)} is the next)"
        )
    return label_set


async def publish(
    settings: Settings,
    label_set: LabelSet,
    *,
    in_force: bool = True,
    archive: bool = True,
    by: str | None = None,
    note: str | None = None,
) -> int:
    """Publish a label set, and archive it under its version.

    Args:
        settings: how to reach the brokers, and the prefix.
        label_set: with a version.
        in_force: False archives it only.
        archive: whether it is kept under its version; False where it is already.
        by: who publishes it.
        note: what it is for.

    Returns:
        The record's timestamp, milliseconds since the epoch.

    Raises:
        FatalError: its route can't be used.
        TransientError: the broker does not answer.
    """
    names = TopicNames(settings.topics.prefix)
    key = label_set.name
    if label_set.route in names.all():
        raise FatalError(f"route: {label_set.route} is one of Feedsight's own topics; name another")
    if label_set.route is not None and in_force:
        route = TopicSpec(
            label_set.route, settings.topics.partitions, "delete", ROUTE_RETENTION_MS, f"labels of {key}"
        )
        await create_missing(settings.kafka, [route], settings.topics.replication)
    headers = [("content-type", b"application/json")]
    headers += [(name, value.encode()) for name, value in ((BY, by), (NOTE, note)) if value]
    value = label_set.to_json()
    keys = [archive_key(key, str(label_set.version))] if archive else []
    keys += [key] if in_force else []
    return await _send(settings, [(one, value) for one in keys], headers)


async def withdraw(settings: Settings, name: str) -> int:
    """Take a label set out of force; its versions stay archived.

    Returns:
        The record's timestamp, milliseconds since the epoch.

    Raises:
        TransientError: the broker does not answer.
    """
    return await _send(settings, [(name, None)], [])


async def _send(
    settings: Settings, records: list[tuple[str, bytes | None]], headers: list[tuple[str, bytes]]
) -> int:
    producer = clients.idempotent_producer(settings.kafka)
    now_ms = int(time.time() * 1_000)
    try:
        await producer.start()
        for key, value in records:
            await producer.send_and_wait(
                TopicNames(settings.topics.prefix).label_sets,
                value,
                key=key.encode(),
                headers=headers,
                timestamp_ms=now_ms,
            )
    except PipelineError:
        raise
    except (KafkaError, OSError) as error:
        raise translated(error) from error
    finally:
        await clients.stop_quietly(producer)
    return now_ms


def _content(label_set: LabelSet) -> str:
    return content_version(label_set)


def _stored(change: Change) -> Stored:
    facts = {name: value.decode("utf-8", "replace") for name, value in change.headers if value is not None}
    return Stored(read_change(change), change.timestamp_ms, facts.get(BY), facts.get(NOTE))
