"""Between Kafka records and messages: CloudEvents in (binary and structured) and out (binary).

A subscriber that knows nothing of CloudEvents reads plain JSON.
"""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, cast

import orjson

from schemas import ImageMessage, ImageResult, Post, TextResult
from stream.records import Headers, InputRecord, OutputRecord
from workers.errors import MessageError
from workers.text.parse import UnknownFields, parse_post

STRUCTURED: Final = b"application/cloudevents"
JSON_TYPES: Final = (b"application/json", b"text/json")
TRACING: Final = ("traceparent", "tracestate")
IMAGE_FACTS: Final = ("subject", "reference", "label", "created_at", "sha256", "content_type")


Decoder = Callable[[InputRecord], Any]
"""Reads one record into a message; raises MessageError where it is none."""


def post_decoder(unknown_fields: UnknownFields = "reject") -> Callable[[InputRecord], Post]:
    """Make the decoder of the posts topic."""

    def decode(record: InputRecord) -> Post:
        value = record.value
        if record.headers and _is_structured(record.headers):
            value = _event_data(value)
        return parse_post(value, unknown_fields=unknown_fields)

    return decode


def image_decoder(max_bytes: int) -> Callable[[InputRecord], ImageMessage]:
    """Make the decoder of the images topic: raw bytes with headers, or JSON with a claim check.

    Args:
        max_bytes: a larger value is refused.
    """

    def decode(record: InputRecord) -> ImageMessage:
        value = record.value
        if value is None:
            raise MessageError("the value is null", reason="null_value")
        if len(value) > max_bytes:
            raise MessageError(f"{len(value)} bytes; at most {max_bytes} are taken", reason="too_large")
        headers = {name.lower(): found for name, found in record.headers if found is not None}
        if _is_structured(record.headers):
            return _claim_check(_event_data(value) or b"")
        content_type = headers.get("content-type", b"").split(b";")[0].strip().lower()
        if content_type in JSON_TYPES or (not content_type and value.lstrip()[:1] == b"{"):
            return _claim_check(value)
        return _raw_image(record, headers, value)

    return decode


def _is_structured(headers: Headers) -> bool:
    return any(
        name.lower() == "content-type" and value is not None and value.startswith(STRUCTURED)
        for name, value in headers
    )


def _event_data(value: bytes | None) -> bytes | None:
    """Take the data out of a structured CloudEvent, as JSON bytes."""
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


def _claim_check(value: bytes) -> ImageMessage:
    try:
        message = ImageMessage.model_validate_json(value)
    except ValueError as error:
        raise _explain(value, error) from None
    if message.dataref is None:
        raise MessageError("an image as JSON needs a dataref")
    return message


def _explain(value: bytes, error: ValueError) -> MessageError:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError as broken:
        return MessageError(f"not UTF-8 at byte {broken.start}", reason="bad_encoding")
    problems = cast("Any", error).errors(include_url=False, include_context=False, include_input=False)
    first = problems[0]
    if first["type"] == "json_invalid":
        return MessageError("the value is neither an image nor JSON", reason="not_json")
    where = ".".join(str(part)[:64] for part in first["loc"]) or "message"
    reason = "unknown_field" if all(p["type"] == "extra_forbidden" for p in problems) else "schema"
    return MessageError(f"{where}: {first['msg']}", reason=reason)


def _raw_image(record: InputRecord, headers: dict[str, bytes], value: bytes) -> ImageMessage:
    """Build a message from image bytes; the facts stand in headers, bare or with CloudEvents' prefix."""
    if not value:
        raise MessageError("the value is empty", reason="image_undecodable")
    facts: dict[str, Any] = {}
    for name in IMAGE_FACTS:
        found = headers.get(name) or headers.get(f"ce_{name}")
        if found is not None:
            facts[name] = _text(name, found)
    if "content-type" in headers:
        facts["content_type"] = _text("content-type", headers["content-type"])
    identity = headers.get("id") or headers.get("ce_id") or record.key
    facts["id"] = _text("id", identity) if identity else f"{record.topic}-{record.partition}-{record.offset}"
    try:
        return ImageMessage(content=value, size=len(value), **facts)
    except ValueError as error:
        raise _explain(b"", error) from None


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise MessageError(f"header {name} is not UTF-8", reason="bad_encoding") from None


@lru_cache(maxsize=4_096)
def _identity(topic: str, partition: int, model: str, name: str, version: str) -> tuple[bytes, bytes, bytes]:
    """Parts of a result's id and origin that all results of a partition and version share."""
    digest = hashlib.sha256(f"{model}\0{name}\0{version}".encode()).hexdigest()[:12]
    head = f',"source":{{"topic":{orjson.dumps(topic).decode()},"partition":{partition},"offset":'
    return f"{topic}-{partition}-".encode(), f"-{digest}".encode(), head.encode()


def encode_result(
    record: InputRecord, result: TextResult | ImageResult, topic: str, common: list[tuple[str, bytes]]
) -> OutputRecord:
    """Build the output record of a result.

    `result_id` is a function of the input's topic, partition and offset, the model, the label set or gallery
    and its version, so a subscriber on an at-least-once broker can drop a repeat.

    Args:
        record: the input.
        result: what the worker found.
        topic: where results go.
        common: headers that a batch shares, from `result_headers`.
    """
    name = result.label_set if isinstance(result, TextResult) else result.gallery
    head, tail, source = _identity(record.topic, record.partition, result.model, name, result.version)
    offset = b"%d" % record.offset
    result_id = head + offset + tail
    body = result.to_json()
    # The worker's own JSON is spliced, not built again: this is the hot path. A test reads it back.
    value = b"".join((body[:-1], b',"result_id":"', result_id, b'"', source, offset, b"}}"))
    headers = [*common, ("ce_id", result_id)]
    if record.headers:
        headers.extend(pair for pair in record.headers if pair[0] in TRACING)
    return OutputRecord(topic, record.key or result.id.encode(), value, headers)


def result_headers(event_type: str, source: str) -> list[tuple[str, bytes]]:
    """CloudEvents headers that all results written together share; `ce_time` is the time of writing."""
    return [
        ("content-type", b"application/json"),
        ("ce_specversion", b"1.0"),
        ("ce_type", event_type.encode()),
        ("ce_source", source.encode()),
        ("ce_time", datetime.now(UTC).isoformat(timespec="milliseconds").encode()),
    ]
