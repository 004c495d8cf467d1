"""Lists of images: a folder, or a manifest with a line of JSON for each image.

A manifest line is `{"id", "path", "subject"?, "reference"?, "label"?, "sha256"?, "metadata"?,
"gallery"?}`; paths are relative to the manifest, or absolute. `gallery` counts for what is sent to a topic.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, ValidationError

from schemas import Json, Message
from workers.errors import MessageError

IMAGE_SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif"}
)
"""What is taken from a folder; the content decides what a file really is."""


class ManifestLine(Message):
    """One line of a manifest."""

    id: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    path: Annotated[str, Field(min_length=1)]
    subject: str | None = None
    reference: str | None = None
    label: str | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    metadata: dict[str, Json] | None = None
    gallery: Annotated[str, Field(min_length=1, max_length=128)] | None = None


@dataclass(frozen=True)
class Entry:
    """An image in a list.

    Attributes:
        id: what it is called in results.
        path: where it lies.
        line: the other facts of a manifest line, or what a folder says (`subject` and `label` are the
            name of the sub-folder).
        base: the folder that relative paths in the line start from.
    """

    id: str
    path: Path
    line: ManifestLine
    base: Path


@dataclass(frozen=True)
class BadLine:
    """A line that names no image."""

    id: str | None
    error: MessageError


def is_manifest(path: Path) -> bool:
    """Whether a path is taken for a manifest, by its suffix."""
    return path.suffix.lower() in (".jsonl", ".ndjson") and not path.is_dir()


def folder_entries(folder: Path) -> list[Entry]:
    """The images of a folder and its sub-folders, in the order of their paths; hidden ones are left out."""
    entries = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        if hidden or path.suffix.lower() not in IMAGE_SUFFIXES or not path.is_file():
            continue
        group = relative.parts[0] if len(relative.parts) > 1 else None
        line = ManifestLine(path=relative.as_posix(), subject=group, label=group)
        entries.append(Entry(relative.as_posix(), path, line, folder))
    return entries


def manifest_entries(lines: Iterable[bytes], base: Path) -> Iterator[Entry | BadLine]:
    """Read manifest lines as they come; blank ones are passed over.

    Args:
        lines: JSON, UTF-8.
        base: the folder that relative paths start from.
    """
    for raw in lines:
        if not raw.strip():
            continue
        try:
            line = ManifestLine.model_validate_json(raw)
        except ValidationError as error:
            yield _bad_line(raw, error)
            continue
        yield Entry(line.id or line.path, base / line.path, line, base)


def _bad_line(raw: bytes, error: ValidationError) -> BadLine:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    detail = f"{where}: {first['msg']}" if where else str(first["msg"])
    reason = {"json_invalid": "not_json", "extra_forbidden": "unknown_field"}.get(first["type"], "schema")
    try:
        raw.decode()
    except UnicodeDecodeError:
        reason = "bad_encoding"
    return BadLine(_id_of(raw), MessageError(detail, reason=reason))


def _id_of(raw: bytes) -> str | None:
    """The id of a line that is wrong otherwise, so that its error can be told apart."""
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    value = found.get("id") or found.get("path") if isinstance(found, dict) else None
    return value if isinstance(value, str) else None
