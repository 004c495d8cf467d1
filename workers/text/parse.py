"""From the bytes of one message or line to a Post, or to the reason why not.

A post of strings and whole numbers, as nearly all are, is read by orjson and filled directly; any other goes
through pydantic's parser, which has the last word; what was wrong is worked out only when that fails.
"""

import difflib
import json
from typing import Final, Literal, cast

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json

from schemas import MAX_TEXT_CHARS, Post
from workers.errors import MessageError

UnknownFields = Literal["reject", "ignore"]

MAX_POST_BYTES: Final = 4 * MAX_TEXT_CHARS + 65_536
"""The longest message taken, in bytes: the longest text at four bytes of UTF-8 a character, and its facts."""

MAX_PROBLEMS: Final = 1_000
"""A message with more of them is somebody's attempt to keep a worker busy with saying what is wrong."""

_BOM: Final = b"\xef\xbb\xbf"
_FIELDS: Final = tuple(Post.model_fields)
_EMPTY: Final = dict.fromkeys(Post.model_fields)
_NO_STRINGS: Final = frozenset({"labels", "metadata"})
_SCALARS: Final = frozenset(
    {"created_at", "event", "keyword", "group", "category", "relevance", "score", "label"}
)
_BARE: Final = {"id", "text"}
"""The set fields of a post with nothing else; shared, for frozen messages never change theirs."""
_MAX_ID_CHARS: Final = 256
_new: Final = object.__new__
_set: Final = object.__setattr__
_validate_json: Final = Post.__pydantic_validator__.validate_json


def parse_post(value: bytes | None, *, unknown_fields: UnknownFields = "reject") -> Post:
    """Parse and check a post. Thread-safe.

    Args:
        value: one JSON object in UTF-8; None is Kafka's null value.
        unknown_fields: `reject` makes a field that Post does not have an error, `ignore` drops it.

    Raises:
        MessageError: with reason null_value, too_large, bad_encoding, not_json, unknown_field, empty_text or
            schema. Its detail names fields, never their content.
    """
    if value is not None and len(value) <= MAX_POST_BYTES:
        post = _plain_post(value)
        if post is not None:
            return post
        try:
            if unknown_fields == "reject":
                return cast("Post", _validate_json(value))
            return cast("Post", _validate_json(value, extra="ignore"))
        except ValidationError as error:
            if value.startswith(_BOM):
                return parse_post(value.removeprefix(_BOM), unknown_fields=unknown_fields)
            raise _explain(value, error) from None  # the ValidationError holds the message's content
    if value is None:
        raise MessageError("the value is null", reason="null_value")
    raise MessageError(f"more than {MAX_POST_BYTES} bytes", reason="too_large")


def _plain_post(value: bytes) -> Post | None:
    """Read a post of strings and whole numbers; None where pydantic must look: an error, or a richer post.

    What is taken here, pydantic takes too and reads the same; a test holds the two beside each other.
    """
    try:
        found = orjson.loads(value)
        identity, text = found["id"], found["text"]
    except (ValueError, KeyError, TypeError):
        return None
    if type(identity) is not str or type(text) is not str or not 0 < len(identity) <= _MAX_ID_CHARS:
        return None
    if not text or len(text) > MAX_TEXT_CHARS or text.isspace():
        return None
    given = _BARE
    if len(found) > len(_BARE):
        for name, held in found.items():
            kind = type(held)
            if kind is str:
                allowed = name in _EMPTY and name not in _NO_STRINGS
            elif held is None:
                allowed = name in _EMPTY
            else:  # no floats: the two parsers may differ in the last bit, or on huge whole numbers
                allowed = name in _SCALARS and (kind is int or kind is bool)
            if not allowed:
                return None
        given = set(found)
    made = _new(Post)
    _set(made, "__dict__", {**_EMPTY, **found})
    _set(made, "__pydantic_fields_set__", given)
    _set(made, "__pydantic_extra__", None)
    _set(made, "__pydantic_private__", None)
    return made


def post_of_text(post_id: str, value: bytes) -> Post:
    """Make a post of plain text: a document, or a line of a text file.

    Raises:
        MessageError: with reason too_large, bad_encoding or empty_text.
    """
    try:
        text = value.removeprefix(_BOM).decode("utf-8")
    except UnicodeDecodeError as broken:
        raise MessageError(f"not UTF-8 at byte {broken.start}", reason="bad_encoding") from None
    if len(text) > MAX_TEXT_CHARS:
        raise MessageError(f"the text is longer than {MAX_TEXT_CHARS} characters", reason="too_large")
    if not text or text.isspace():
        raise MessageError("the text is empty", reason="empty_text")
    return Post(id=post_id[-256:] or "-", text=text)


def salvage_id(value: bytes | None) -> str | None:
    """The id of a message that is no valid Post, where one can be read; for error reports only."""
    if value is None or len(value) > 4 * MAX_POST_BYTES:
        return None
    try:
        found = from_json(value.removeprefix(_BOM).decode("utf-8", errors="replace"))
    except ValueError:
        return None
    if isinstance(found, dict) and isinstance(found.get("id"), str):
        return cast("str", found["id"])[:256] or None
    return None


def _explain(value: bytes, error: ValidationError) -> MessageError:
    """Work out the one reason that helps most: encoding, then JSON, then text, then the other fields."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as broken:
        return MessageError(f"not UTF-8 at byte {broken.start}", reason="bad_encoding")
    if error.error_count() > MAX_PROBLEMS:
        return MessageError(f"{error.error_count()} fields are unknown or wrong", reason="schema")
    problems = error.errors(include_url=False, include_context=False)
    first = problems[0]
    if first["type"] == "json_invalid":
        return _explain_json(text, first["msg"])
    if first["type"] == "model_type":
        if text.strip() == "null":
            return MessageError("the value is null", reason="null_value")
        return MessageError("a post is a JSON object", reason="schema")
    return _explain_fields(problems)


def _explain_json(text: str, message: str) -> MessageError:
    if not text.strip():
        return MessageError("the line is empty", reason="not_json")
    try:  # json's words leave the content out, pydantic's may not
        found = json.loads(text)
    except json.JSONDecodeError as error:
        return MessageError(f"{error.msg} at character {error.pos}", reason="not_json")
    except (RecursionError, ValueError):
        return MessageError("nested too deep, or a number too long", reason="not_json")
    try:  # Python's json lets half a surrogate pair pass, which no UTF-8 can hold
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return MessageError("half a surrogate pair stands in a string", reason="bad_encoding")
    return MessageError(message.split(" at line")[0].removeprefix("Invalid JSON: ")[:120], reason="not_json")


def _explain_fields(problems: list[ErrorDetails]) -> MessageError:
    unknown = [str(p["loc"][0]) for p in problems if p["type"] == "extra_forbidden"]
    wrong = [p for p in problems if p["type"] != "extra_forbidden"]
    for problem in wrong:
        if problem["loc"][0] == "text":
            if problem["type"] == "value_error":
                return MessageError("the text is empty", reason="empty_text")
            if problem["type"] == "string_too_long":
                return MessageError(
                    f"the text is longer than {MAX_TEXT_CHARS} characters", reason="too_large"
                )
    details = [f"{'.'.join(map(_shown, p['loc'][:3]))}: {_words(p)}" for p in wrong[:3]]
    details += [_unknown_words(name) for name in unknown[:3]]
    reason = "schema" if wrong else "unknown_field"
    return MessageError("; ".join(details), reason=reason)


def _words(problem: ErrorDetails) -> str:
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return message[:1].lower() + message[1:]


def _unknown_words(name: str) -> str:
    close = difflib.get_close_matches(name[:64], _FIELDS, n=1)
    return f"unknown field {_shown(name)!r}" + (f" (did you mean {close[0]!r}?)" if close else "")


def _shown(name: int | str) -> str:
    """A field name as one short printable line."""
    return "".join(c if c.isprintable() else "?" for c in str(name)[:64])
