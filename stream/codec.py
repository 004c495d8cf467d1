"""Between Kafka records and messages: CloudEvents in (binary and structured) and out (binary).

A subscriber that knows nothing of CloudEvents reads plain JSON.
"""

import hashlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import orjson

from schemas import ImageMessage, ImageResult, Post, TextResult
from stream.records import InputRecord, OutputRecord
from workers.cloud_events import event_data, is_structured
from workers.errors import MessageError
from workers.image.parse import parse_image
from workers.text.parse import UnknownFields, parse_post
from workers.text.results import TEXT_RESULTS, result_json

logger = logging.getLogger(__name__)

TRACING: Final = ("traceparent", "tracestate")


Decoder = Callable[[InputRecord], Any]
"""Reads one record into a message; raises MessageError where it is none."""


def undecodable(record: InputRecord, error: Exception) -> MessageError:
    """What to say of a record over which a decoder failed in a way that nobody foresaw."""
    logger.error("decoding %s-%d at %d failed", record.topic, record.partition, record.offset, exc_info=error)
    failure = MessageError(f"decoding failed: {type(error).__name__}", reason="unexpected")
    failure.__cause__ = error
    return failure


def post_decoder(unknown_fields: UnknownFields = "reject") -> Callable[[InputRecord], Post]:
    """Make the decoder of the posts topic."""

    def decode(record: InputRecord) -> Post:
        value = record.value
        if record.headers and is_structured(record.headers):
            value = event_data(value)
        return parse_post(value, unknown_fields=unknown_fields)

    return decode


def image_decoder(max_bytes: int) -> Callable[[InputRecord], ImageMessage]:
    """Make the decoder of the images topic: raw bytes with headers, or JSON with a claim check.

    Args:
        max_bytes: a larger value is refused.
    """

    def decode(record: InputRecord) -> ImageMessage:
        place = f"{record.topic}-{record.partition}-{record.offset}"
        return parse_image(record.value, record.headers, record.key, place, max_bytes)

    return decode


_made: Final = tuple.__new__
"""Half the time of a NamedTuple's own constructor."""


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
    if isinstance(result, TEXT_RESULTS):
        name, body = result.label_set, result_json(result)
    else:
        name, body = result.gallery, result.to_json()
    head, tail, source = _identity(record.topic, record.partition, result.model, name, result.version)
    offset = b"%d" % record.offset
    result_id = head + offset + tail
    # The worker's own JSON is spliced, not built again: this is the hot path. A test reads it back.
    value = b"".join((body[:-1], b',"result_id":"', result_id, b'"', source, offset, b"}}"))
    headers = [*common, ("ce_id", result_id)]
    if record.headers:
        headers.extend(pair for pair in record.headers if pair[0] in TRACING)
    return _made(OutputRecord, (topic, record.key or result.id.encode(), value, headers))


def result_headers(event_type: str, source: str) -> list[tuple[str, bytes]]:
    """CloudEvents headers that all results written together share; `ce_time` is the time of writing."""
    return [
        ("content-type", b"application/json"),
        ("ce_specversion", b"1.0"),
        ("ce_type", event_type.encode()),
        ("ce_source", source.encode()),
        ("ce_time", datetime.now(UTC).isoformat(timespec="milliseconds").encode()),
    ]
