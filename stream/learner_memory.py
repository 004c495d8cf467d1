"""What the learner knows: a function of the topics label-sets, review and feedback."""

import logging
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas import Feedback, LabelSet, ReviewItem
from stream.client import Incoming
from workers.base import Change
from workers.errors import MessageError
from workers.text.control import read_change
from workers.text.label_set import ARCHIVE_MARK, LabelSetError
from workers.text.learning.corrections import Said

logger = logging.getLogger(__name__)

MAX_FEEDBACK_BYTES: Final = 1_000_000
MAX_EXAMPLE_CHARS: Final = 4_000
"""Of a text that are kept: more than the sentence model reads of an example."""


def read_feedback(value: bytes | None) -> Feedback:
    """Read a correction.

    Raises:
        MessageError: with reason null_value, too_large, bad_encoding, not_json, unknown_field or schema; its
            detail names fields, never their content.
    """
    if value is None:
        raise MessageError("the value is null", reason="null_value")
    if len(value) > MAX_FEEDBACK_BYTES:
        raise MessageError(f"more than {MAX_FEEDBACK_BYTES} bytes", reason="too_large")
    try:
        value.decode("utf-8")
    except UnicodeDecodeError as broken:
        raise MessageError(f"not UTF-8 at byte {broken.start}", reason="bad_encoding") from None
    try:
        return Feedback.model_validate_json(value)
    except ValidationError as error:
        raise _explain(error.errors(include_url=False, include_context=False, include_input=False)) from None


def _explain(problems: list[ErrorDetails]) -> MessageError:
    first = problems[0]
    if first["type"] == "json_invalid":
        return MessageError("the value is not JSON", reason="not_json")
    where = ".".join(str(part)[:64] for part in first["loc"]) or "feedback"
    reason = "unknown_field" if all(p["type"] == "extra_forbidden" for p in problems) else "schema"
    return MessageError(f"{where}: {first['msg']}", reason=reason)


class Memory:
    """Label sets, items under review, and what people said.

    Args:
        max_items: items under review remembered; of more, the oldest go.
    """

    def __init__(self, max_items: int) -> None:
        self.label_sets: dict[str, LabelSet] = {}
        """In force, by name."""
        self._versions: dict[str, set[str]] = {}
        self._max_items = max_items
        self._items: OrderedDict[tuple[str, str], ReviewItem] = OrderedDict()
        self._words: dict[str, list[Said]] = {}

    def apply(self, records: Iterable[Incoming]) -> None:
        """Take records of the label-sets topic over; what can't be read is passed over, as workers do."""
        for record in records:
            key = (record.key or b"").decode("utf-8", "replace")
            name, mark, version = key.partition(ARCHIVE_MARK)
            if record.value is None:
                if mark:
                    self._versions.get(name, set()).discard(version)
                else:
                    self.label_sets.pop(name, None)
                continue
            try:
                label_set = read_change(Change(key, record.value))
            except LabelSetError as error:
                logger.warning("%s", error.detail)
                continue
            self._versions.setdefault(name, set()).add(str(label_set.version))
            if not mark:
                self.label_sets[name] = label_set

    def review(self, records: Iterable[Incoming]) -> None:
        """Take records of the review topic over: posts that people were asked about."""
        for record in records:
            try:
                item = ReviewItem.model_validate_json(record.value or b"")
            except ValidationError:
                continue
            if item.lane != "text":
                continue
            self._items[(item.id, item.name)] = item
            if len(self._items) > self._max_items:
                self._items.popitem(last=False)

    def asked(self, post_id: str, name: str) -> ReviewItem | None:
        """What was asked about a post for a label set."""
        return self._items.get((post_id, name))

    def meant(self, feedback: Feedback) -> str:
        """The label set that a correction is for.

        Raises:
            MessageError: it names none, and there are several; or one that is not in force, or a label that
                the set does not have.
        """
        names = [feedback.name] if feedback.name is not None else list(self.label_sets)
        if len(names) > 1:
            names = [name for name in names if (feedback.id, name) in self._items]
        if len(names) != 1:
            raise MessageError("name: which label set is meant?", reason="schema")
        (name,) = names
        label_set = self.label_sets.get(name)
        if label_set is None:
            raise MessageError("name: no such label set is in force", reason="unknown_label")
        if feedback.label is not None and feedback.label not in {one.name for one in label_set.labels}:
            raise MessageError("label: the label set has no such label", reason="unknown_label")
        return name

    def learn(self, name: str, feedback: Feedback, text: str) -> None:
        """Keep what a person said."""
        asked = self.asked(feedback.id, name)
        said = Said(
            feedback.id,
            text[:MAX_EXAMPLE_CHARS],
            feedback.label,
            feedback.by,
            asked.label if asked else None,
            asked is not None and "random" in asked.why,
        )
        self._words.setdefault(name, []).append(said)

    def words(self, name: str) -> list[Said]:
        """What people said for a label set, oldest first."""
        return self._words.get(name, [])

    def next_version(self, name: str) -> str | int:
        """A version that the label set never had: numbers count on, others get `.f1`, then `.f2`."""
        version = cast("str | int", self.label_sets[name].version)
        had = self._versions.get(name, set())
        text = str(version)
        if text.isascii() and text.isdigit():
            number = 1 + max(int(one) for one in had | {text} if one.isascii() and one.isdigit())
            return number if isinstance(version, int) else str(number)
        stem, mark, count = text.rpartition(".f")
        if not (mark and count.isdigit()):
            stem = text
        number = 1
        while f"{stem}.f{number}" in had:
            number += 1
        return f"{stem}.f{number}"
