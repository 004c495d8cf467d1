"""The AsyncAPI 3 document: which message travels on which topic, in which direction, with which headers."""

from dataclasses import dataclass
from typing import Any, Final, Literal


@dataclass(frozen=True)
class Channel:
    """A topic as AsyncAPI describes it.

    Attributes:
        topic: name without the prefix.
        message: name of the schema in schemas/json; None for a value that is bytes.
        action: what Feedsight does.
        title: one line for people.
        headers: name of the header set in `_HEADERS`.
        also: name of the schema of another message on the same topic.
    """

    topic: str
    message: str | None
    action: Literal["send", "receive"]
    title: str
    headers: str = "cloudevents"
    also: str | None = None


CHANNELS: Final = (
    Channel("posts", "post", "receive", "Posts to label"),
    Channel(
        "images",
        "image-message",
        "receive",
        "Images to match: this JSON with a claim check, or the image's bytes with these fields in headers",
    ),
    Channel("labels", "text-result", "send", "Labels of posts"),
    Channel("matches", "image-result", "send", "Verdicts on images"),
    Channel(
        "dead-letters",
        None,
        "send",
        "Inputs that can't be answered: key, value and headers untouched, facts in further headers",
        "dead-letter",
    ),
    Channel("label-sets", "label-set", "receive", "Label sets in force, by name (compacted)"),
    Channel("references", "reference", "receive", "References in force, by id (compacted)"),
    Channel(
        "metrics",
        "metrics-snapshot",
        "send",
        "A snapshot of each worker and interval, and events: versions in force, bursts, drift",
        also="worker-event",
    ),
    Channel("review", "review-item", "send", "Items that a person should look at"),
    Channel("feedback", "feedback", "receive", "Corrections by people"),
    Channel("diffs", "label-diff", "send", "Posts that another version of a label set labels otherwise"),
)
"""Every topic and what travels on it."""

_TEXT: Final = {"type": "string"}
_HEADERS: Final[dict[str, dict[str, Any]]] = {
    "cloudevents": {
        "type": "object",
        "description": "CloudEvents 1.0, binary mode. On inputs all of them may be left out.",
        "properties": {
            "ce_id": _TEXT,
            "ce_type": _TEXT,
            "ce_source": _TEXT,
            "ce_specversion": {"type": "string", "const": "1.0"},
            "ce_time": {"type": "string", "format": "date-time"},
            "content-type": _TEXT,
            "traceparent": _TEXT,
            "tracestate": _TEXT,
        },
    },
    "dead-letter": {
        "type": "object",
        "required": ["reason", "detail", "source_topic", "source_partition", "source_offset"],
        "properties": {
            "reason": {"type": "string", "description": "one of a closed set, such as not_json"},
            "detail": {"type": "string", "description": "one line for a person"},
            "source_topic": _TEXT,
            "source_partition": {"type": "string", "pattern": "^[0-9]+$"},
            "source_offset": {"type": "string", "pattern": "^[0-9]+$"},
            "attempt": {"type": "string", "pattern": "^[0-9]+$"},
            "failed_at": {"type": "string", "format": "date-time"},
        },
    },
}


def asyncapi_document(prefix: str = "feedsight.") -> dict[str, Any]:
    """Build the document.

    Args:
        prefix: of the topics.
    """
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Feedsight",
            "version": "1.0.0",
            "description": "Posts and images in, labels and matches out.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"kafka": {"host": "localhost:9092", "protocol": "kafka"}},
        "channels": {channel.topic: _channel(channel, prefix) for channel in CHANNELS},
        "operations": {
            f"{channel.action}-{channel.topic}": {
                "action": channel.action,
                "channel": {"$ref": f"#/channels/{channel.topic}"},
            }
            for channel in CHANNELS
        },
        "components": {
            "messages": {
                name: _message(channel, schema)
                for channel in CHANNELS
                for name, schema in _message_names(channel).items()
            },
            "schemas": {f"{name}-headers": headers for name, headers in _HEADERS.items()},
        },
    }


def _channel(channel: Channel, prefix: str) -> dict[str, Any]:
    return {
        "address": prefix + channel.topic,
        "title": channel.title,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _message_names(channel)},
    }


def _message_names(channel: Channel) -> dict[str, str | None]:
    """The channel's messages by name, with the schema of each."""
    return {channel.topic: channel.message} | ({channel.also: channel.also} if channel.also else {})


def _message(channel: Channel, schema: str | None) -> dict[str, Any]:
    message: dict[str, Any] = {
        "title": channel.title,
        "headers": {"$ref": f"#/components/schemas/{channel.headers}-headers"},
    }
    if schema is None:
        message["contentType"] = "application/octet-stream"
    else:
        message["payload"] = {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$ref": f"json/{schema}.json"},
        }
    return message
