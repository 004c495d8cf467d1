"""Structured CloudEvents: a JSON envelope around a message. Binary ones have their facts in headers."""

from collections.abc import Sequence
from typing import Final

import orjson

from workers.errors import MessageError

STRUCTURED: Final = b"application/cloudevents"

Headers = Sequence[tuple[str, bytes]]


def is_structured(headers: Headers) -> bool:
    """Whether a record's headers say that its value is a structured CloudEvent."""
    return any(
        name.lower() == "content-type" and value is not None and value.startswith(STRUCTURED)
        for name, value in headers
    )


def event_data(value: bytes | None) -> bytes | None:
    """Take the data out of a structured CloudEvent, as JSON bytes.

    Raises:
        MessageError: it is none.
    """
    if value is None:
        return None
    try:
        event = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        reason = "bad_encoding" if "UTF-8" in str(error) or "utf-8" in str(error) else "not_json"
        raise MessageError(f"the CloudEvent is not JSON: {error.msg}", reason=reason) from None
    if not isinstance(event, dict) or "specversion" not in event or "data" not in event:
        raise MessageError("a structured CloudEvent needs specversion and data")
    data = event["data"]
    if isinstance(data, dict) and "id" not in data and isinstance(event.get("id"), str):
        data = {"id": event["id"], **data}
    try:
        return orjson.dumps(data)
    except TypeError as error:  # orjson reads deeper than it writes
        raise MessageError(f"the CloudEvent's data: {error}") from None
