"""Labelled examples and unlabelled samples, read from files beside a label set."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic_core import from_json

from schemas import MAX_TEXT_CHARS
from workers.errors import FatalError

MAX_UNLABELLED: Final = 10_000
"""Texts of the stream that are adapted to: more change the fit by less than a tenth of a point."""

_MAX_LINE_BYTES: Final = 4_000_000


def read_examples(path: Path) -> list[tuple[str, str | None]]:
    """Read labelled examples: JSON lines with `text` and `label` (or a list `labels`); others are ignored.

    Returns:
        (text, label name) pairs; a label that is null says that the text is about none of them.

    Raises:
        FatalError: the file can't be read, or a line is no example.
    """
    found: list[tuple[str, str | None]] = []
    for number, line in _lines(path):
        if not line.strip():
            continue
        value = _json_object(line)
        text = value.get("text") if value else None
        if value is None or not isinstance(text, str) or not text.strip() or len(text) > MAX_TEXT_CHARS:
            raise FatalError(f"{path}, line {number}: an example is a JSON object with text and label")
        if "label" not in value and not isinstance(value.get("labels"), list):
            raise FatalError(f"{path}, line {number}: an example has a label")
        names = value["labels"] if isinstance(value.get("labels"), list) else [value["label"]]
        for name in names or [None]:
            if name is not None and not isinstance(name, str):
                raise FatalError(f"{path}, line {number}: an example has a label")
            found.append((text, name))
    return found


def is_text_file(path: Path) -> bool:
    """Whether a file holds plain text by its name; .TXT is one too."""
    return path.suffix.lower() == ".txt"


def read_unlabelled(path: Path, limit: int = MAX_UNLABELLED) -> tuple[list[str], int]:
    """Read an unlabelled sample: JSON lines with `text`, or a .txt file with one text a line.

    Bad lines are passed over. Of more than `limit` texts, evenly spread ones are kept.

    Returns:
        The texts, and how many lines were passed over.

    Raises:
        FatalError: the file can't be read, or has no text at all.
    """
    plain = is_text_file(path)
    found: list[str] = []
    skipped = 0
    step = 1
    for number, line in _lines(path):
        if (number - 1) % step:
            continue
        text = _plain_text(line) if plain else _json_text(line)
        if text is None:
            skipped += bool(line.strip())
            continue
        found.append(text)
        if len(found) == 2 * limit:  # thin out by half, so that the whole file counts alike
            found = found[::2]
            step *= 2
    if not found:
        raise FatalError(f"{path}: no text in it")
    if len(found) > limit:
        found = [found[i * len(found) // limit] for i in range(limit)]
    return found, skipped


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
    except OSError as error:
        raise FatalError(f"{path} can't be read: {error.strerror}") from error


def _json_object(line: bytes) -> dict[str, Any] | None:
    if len(line) > _MAX_LINE_BYTES:
        return None
    try:
        value = from_json(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _json_text(line: bytes) -> str | None:
    value = _json_object(line)
    text = value.get("text") if value else None
    return text if isinstance(text, str) and text.strip() and len(text) <= MAX_TEXT_CHARS else None


def _plain_text(line: bytes) -> str | None:
    try:
        text = line.decode("utf-8").strip()
    except UnicodeDecodeError:
        return None
    return text if text and len(text) <= MAX_TEXT_CHARS else None
