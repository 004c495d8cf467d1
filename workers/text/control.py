"""Label sets on their control topic.

Under the key `name` stands the label set in force; under `name@version` one that was, or may be: archived,
not in force. A null value takes away what the key names.
"""

from collections.abc import Collection
from typing import Final

from schemas import LabelSet
from workers.base import Change
from workers.text.label_set import LabelSetError, label_set_from_json

ARCHIVE_MARK: Final = "@"


def control_key(label_set: LabelSet) -> str:
    """The key under which a label set is in force.

    Raises:
        LabelSetError: the name can't be a key.
    """
    if ARCHIVE_MARK in label_set.name or not label_set.name.isprintable():
        raise LabelSetError(f"label set {label_set.name!r}: a name on the topic holds no {ARCHIVE_MARK!r}")
    return label_set.name


def archive_key(name: str, version: str) -> str:
    """The key under which a version is kept."""
    return f"{name}{ARCHIVE_MARK}{version}"


def read_change(change: Change) -> LabelSet:
    """Read a label set from a record of the topic.

    Raises:
        LabelSetError: it is none, has no version, or stands under a key that is not its name.
    """
    where = f"label set {change.key!r}"
    label_set = label_set_from_json(change.value or b"", where)
    name = change.key.partition(ARCHIVE_MARK)[0]
    if label_set.name != name:
        raise LabelSetError(f"{where}: the key is not its name, {label_set.name!r}")
    return label_set


def check_route(label_set: LabelSet, taken: Collection[str]) -> None:
    """Refuse a route to a topic that carries something else.

    Args:
        label_set: whose route is meant.
        taken: names of the topics that have their use.

    Raises:
        LabelSetError: the route is one of them.
    """
    if label_set.route in taken:
        raise LabelSetError(
            f"label set {label_set.name!r}: route: {label_set.route} is one of Feedsight's own topics; "
            "name another"
        )
