"""Label sets on their control topic.

Under the key `name` stands the label set in force; under `name@version` one that was, or may be: archived,
not in force. A null value takes away what the key names.
"""

from collections.abc import Collection

from schemas import LabelSet
from workers.base import Change
from workers.text.label_set import ARCHIVE_MARK, LabelSetError, label_set_from_json


def archive_key(name: str, version: str) -> str:
    """The key under which a version is kept."""
    return f"{name}{ARCHIVE_MARK}{version}"


def read_change(change: Change, taken: Collection[str] = ()) -> LabelSet:
    """Read a label set from a record of the topic.

    Args:
        change: the record.
        taken: topics that results may not be routed to.

    Raises:
        LabelSetError: it is none, has no version, or stands under a key that is not its name.
    """
    where = f"label set {change.key!r}"
    label_set = label_set_from_json(change.value or b"", where, taken)
    name = change.key.partition(ARCHIVE_MARK)[0]
    if label_set.name != name:
        raise LabelSetError(f"{where}: the key is not its name, {label_set.name!r}")
    return label_set
