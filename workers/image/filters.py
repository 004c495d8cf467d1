"""Filters: a message that may find only some members of a gallery.

`metadata: {"filter.label": "shoes", "filter.colour": "red|blue"}`: every field must hold, one of several
values suffices. `label` and `subject` are the reference's own, other names are fields of its metadata.
"""

from collections.abc import Callable
from typing import Final

from schemas import ImageMessage, Reference
from schemas.base import Json

PREFIX: Final = "filter."


def message_filter(message: ImageMessage) -> Callable[[Reference], bool] | None:
    """Read a message's filter; None where it has none."""
    given = {
        name.removeprefix(PREFIX): value
        for name, value in (message.metadata or {}).items()
        if name.startswith(PREFIX)
    }
    if not given:
        return None

    def accepts(reference: Reference) -> bool:
        facts = {**(reference.metadata or {}), "label": reference.label, "subject": reference.subject}
        return all(_holds(facts.get(name), value) for name, value in given.items())

    return accepts


def _holds(fact: Json, wanted: Json) -> bool:
    """Whether a fact is what is wanted; text from headers also fits numbers and `true` and `false`."""
    if fact is None or isinstance(wanted, str):
        text = str(fact).lower() if isinstance(fact, bool) else str(fact)
        return fact is not None and text in str(wanted).split("|") if wanted is not None else fact is None
    return fact == wanted
