"""Reads images and references as they travel on topics.

Both are either bytes with facts in headers (bare, or with CloudEvents' prefix `ce_`), or JSON with a claim
check. A reference's key is `gallery/id`; a null value removes it.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeVar, cast

import orjson
from pydantic import ValidationError

from schemas import ImageMessage, Reference
from workers.base import Change
from workers.cloud_events import Headers, event_data, is_structured
from workers.errors import MessageError

JSON_TYPES: Final = (b"application/json", b"text/json")
IMAGE_FACTS: Final = ("subject", "reference", "label", "created_at", "sha256", "content_type", "gallery")
REFERENCE_FACTS: Final = ("subject", "label", "sha256", "content_type")
MAX_NAME: Final = 128
MAX_PROBLEMS: Final = 1_000
"""A message with more of them is somebody's attempt to keep a worker busy with saying what is wrong."""

MessageT = TypeVar("MessageT", ImageMessage, Reference)


def parse_image(
    value: bytes | None, headers: Headers, key: bytes | None, place: str, max_bytes: int
) -> ImageMessage:
    """Read a record of the images topic.

    Args:
        value: image bytes or JSON.
        headers: the record's.
        key: the record's; what the image is called where no header names it.
        place: what it is called where it has no key either.
        max_bytes: a larger value is refused.

    Raises:
        MessageError: it is neither an image nor a claim check.
    """
    if value is None:
        raise MessageError("the value is null", reason="null_value")
    body, found = _body(value, headers, max_bytes)
    if body is not None:
        message = _validated(ImageMessage, body)
        if message.dataref is None:
            raise MessageError("an image as JSON needs a dataref")
        return message
    if not value:
        raise MessageError("the value is empty", reason="image_undecodable")
    facts = _facts(found, IMAGE_FACTS)
    identity = found.get("id") or found.get("ce_id") or key
    facts["id"] = _text("id", identity) if identity else place
    return _built(ImageMessage, value, facts)


def split_key(key: str) -> tuple[str, str]:
    """Split the key of a reference into gallery and id.

    Raises:
        MessageError: it is no such key.
    """
    gallery, slash, member = key.partition("/")
    if not gallery or not slash or not member or len(gallery) > MAX_NAME:
        raise MessageError(f"the key {key[:80]!r} is not GALLERY/ID", reason="schema")
    return gallery, member


def parse_reference(change: Change, max_bytes: int) -> Reference:
    """Read a record of the references topic; `removed` is set where it takes the reference away.

    Args:
        change: the record.
        max_bytes: a larger value is refused.

    Raises:
        MessageError: it is none.
    """
    gallery, member = split_key(change.key)
    if change.value is None:
        return Reference(id=member, gallery=gallery, removed=True)
    body, found = _body(change.value, change.headers, max_bytes)
    if body is None:
        if not change.value:
            raise MessageError("the value is empty", reason="image_undecodable")
        facts = {**_facts(found, REFERENCE_FACTS), "id": member, "gallery": gallery}
        return _built(Reference, change.value, facts)
    reference = _validated(Reference, body)
    stated = reference.gallery if "gallery" in reference.model_fields_set else gallery
    if (stated, reference.id) != (gallery, member):
        raise MessageError(f"the value is about {stated}/{reference.id}, the key about {change.key}")
    if reference.dataref is None and not reference.removed:
        raise MessageError("a reference as JSON needs a dataref")
    if reference.gallery == gallery:
        return reference
    return reference.model_copy(update={"gallery": gallery})


def _body(value: bytes, headers: Headers, max_bytes: int) -> tuple[bytes | None, dict[str, bytes]]:
    """The JSON of a record, None where it is an image's bytes; and its headers by their names."""
    if len(value) > max_bytes:
        raise MessageError(f"{len(value)} bytes; at most {max_bytes} are taken", reason="too_large")
    found = {name.lower(): content for name, content in headers if content is not None}
    if is_structured(headers):
        return event_data(value) or b"", found
    content_type = found.get("content-type", b"").split(b";")[0].strip().lower()
    is_json = content_type in JSON_TYPES or (not content_type and value.lstrip()[:1] == b"{")
    return value if is_json else None, found


def _facts(headers: Mapping[str, bytes], names: tuple[str, ...]) -> dict[str, Any]:
    """The facts that stand in headers; `metadata` as a JSON object."""
    facts: dict[str, Any] = {}
    for name in names:
        found = headers.get(name) or headers.get(f"ce_{name}")
        if found is not None:
            facts[name] = _text(name, found)
    if "content-type" in headers:
        facts["content_type"] = _text("content-type", headers["content-type"])
    if "metadata" in headers:
        facts["metadata"] = headers["metadata"]
    return facts


def _built(kind: type[MessageT], content: bytes, facts: dict[str, Any]) -> MessageT:
    try:
        if "metadata" in facts:
            facts["metadata"] = orjson.loads(facts["metadata"])
        return kind(content=content, size=len(content), **facts)
    except orjson.JSONDecodeError:
        raise MessageError("header metadata is not JSON", reason="not_json") from None
    except ValidationError as error:
        raise _explained(b"", error) from None


def _validated(kind: type[MessageT], body: bytes) -> MessageT:
    try:
        return kind.model_validate_json(body)
    except ValueError as error:
        raise _explained(body, error) from None


def _explained(value: bytes, error: ValueError) -> MessageError:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError as broken:
        return MessageError(f"not UTF-8 at byte {broken.start}", reason="bad_encoding")
    count = cast("Any", error).error_count()
    if count > MAX_PROBLEMS:
        return MessageError(f"{count} fields are unknown or wrong")
    problems = cast("Any", error).errors(include_url=False, include_context=False, include_input=False)
    first = problems[0]
    if first["type"] == "json_invalid":
        return MessageError("the value is neither an image nor JSON", reason="not_json")
    where = ".".join(str(part)[:64] for part in first["loc"]) or "message"
    reason = "unknown_field" if all(p["type"] == "extra_forbidden" for p in problems) else "schema"
    return MessageError(f"{where}: {first['msg']}", reason=reason)


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise MessageError(f"header {name} is not UTF-8", reason="bad_encoding") from None
