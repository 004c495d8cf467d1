"""Writes JSON Schema for every message to schemas/json, and the AsyncAPI document beside it.

`python -m schemas.export` writes them anew; a test fails when they are not current.
"""

import json
from pathlib import Path
from typing import Any, Final

import yaml

from schemas.asyncapi import asyncapi_document
from schemas.base import Message
from schemas.dead_letter import DeadLetterFacts
from schemas.image_message import ImageMessage, Reference
from schemas.label_set import LabelSet
from schemas.loop import Feedback, LabelDiff, ReviewItem
from schemas.metrics import MetricsSnapshot, WorkerEvent
from schemas.post import Post
from schemas.result import ImageResult, TextResult

FOLDER: Final = Path(__file__).with_name("json")
ASYNCAPI: Final = Path(__file__).with_name("asyncapi.yaml")

INPUTS: Final[dict[str, type[Message]]] = {
    "post": Post,
    "image-message": ImageMessage,
    "reference": Reference,
    "label-set": LabelSet,
    "feedback": Feedback,
}
"""Messages that others write: an unknown field is refused, so that a misspelt one is noticed."""

OUTPUTS: Final[dict[str, type[Message]]] = {
    "text-result": TextResult,
    "image-result": ImageResult,
    "dead-letter-facts": DeadLetterFacts,
    "metrics-snapshot": MetricsSnapshot,
    "worker-event": WorkerEvent,
    "review-item": ReviewItem,
    "label-diff": LabelDiff,
}
"""Messages that Feedsight writes: subscribers pass over fields they don't know, as versions may add some."""


def json_schema(name: str) -> dict[str, Any]:
    """Give the JSON Schema (draft 2020-12) of a message as it stands in JSON.

    Args:
        name: a key of INPUTS or OUTPUTS.
    """
    schema = {**INPUTS, **OUTPUTS}[name].model_json_schema()
    # Bytes travel as the record's value or lie behind a claim check, never inside JSON.
    schema["properties"].pop("content", None)
    if name in OUTPUTS:
        for part in (schema, *schema.get("$defs", {}).values()):
            part.pop("additionalProperties", None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:feedsight:schema:{name}",
        **schema,
    }


def all_files() -> dict[Path, str]:
    """Give every exported file and its text."""
    files = {
        FOLDER / f"{name}.json": json.dumps(json_schema(name), indent=2, ensure_ascii=False) + "\n"
        for name in (*INPUTS, *OUTPUTS)
    }
    document = yaml.safe_dump(asyncapi_document(), sort_keys=False, allow_unicode=True, width=110)
    files[ASYNCAPI] = "# Written by `python -m schemas.export`.\n" + document
    return files


if __name__ == "__main__":
    for path, text in all_files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
