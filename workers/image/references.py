"""References named in the settings: where they lie, and what calls one of them by another name."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from schemas import Reference
from workers.errors import FatalError
from workers.image.manifest import BadLine, Entry, folder_entries, is_manifest, manifest_entries


def reference_entries(path: Path) -> list[Entry]:
    """List the references of a folder, a manifest or a single image.

    Raises:
        FatalError: it does not exist, can't be read, is empty or a line of it is wrong.
    """
    if path.is_dir():
        entries = folder_entries(path)
    elif not path.exists():
        raise FatalError(f"references {path} do not exist")
    elif is_manifest(path):
        entries = list(_checked(path))
    else:
        entries = [entry for entry in folder_entries(path.parent) if entry.path == path]
    if not entries:
        raise FatalError(f"references {path} hold no image")
    return entries


def _checked(path: Path) -> Iterator[Entry]:
    try:
        with path.open("rb") as lines:
            for entry in manifest_entries(lines, path.parent):
                if isinstance(entry, BadLine):
                    name = f" ({entry.id})" if entry.id else ""
                    raise FatalError(f"references {path}{name}: {entry.error.detail}")
                yield entry
    except OSError as error:
        raise FatalError(f"references {path} can't be read: {error.strerror}") from error


def read_reference(entry: Entry, max_bytes: int) -> Reference:
    """Read a reference's bytes; a user's own list may point anywhere.

    Raises:
        FatalError: the file can't be read or is larger than `max_bytes`.
    """
    try:
        with entry.path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise FatalError(f"reference {entry.id} can't be read: {reason}") from error
    if len(content) > max_bytes:
        raise FatalError(f"reference {entry.id} has more than {max_bytes} bytes")
    return Reference(
        id=entry.id,
        content=content,
        sha256=entry.line.sha256,
        subject=entry.line.subject,
        label=entry.line.label,
        metadata=entry.line.metadata,
    )


_field_sets: dict[frozenset[str], set[str]] = {}


def slim(reference: Reference) -> Reference:
    """The same reference, in half of the memory: it shares the names of its fields with others."""
    names = reference.model_fields_set
    shared = _field_sets.setdefault(frozenset(names), names)
    object.__setattr__(reference, "__pydantic_fields_set__", shared)
    return reference


class Aliases:
    """Finds the reference that a message means: by id, path, file name or stem.

    Args:
        ids: ids of the references there are.
    """

    def __init__(self, ids: Iterable[str]) -> None:
        self._ids = frozenset(ids)
        names: dict[str, str | None] = {}
        for member in sorted(self._ids):
            path = PurePosixPath(member)
            for name in {path.name, path.stem, path.with_suffix("").as_posix()} - self._ids:
                names[name] = None if name in names else member
        self._names = names

    def find(self, name: str | None) -> str | None:
        """The id meant; None where none or more than one fits. No name means the only reference."""
        if name is None:
            return next(iter(self._ids)) if len(self._ids) == 1 else None
        if name in self._ids:
            return name
        path = os.path.normpath(name)
        short = PurePosixPath(path).name
        for candidate in (path, PurePosixPath(path).with_suffix("").as_posix(), short):
            if candidate in self._ids:
                return candidate
            found = self._names.get(candidate)
            if found is not None:
                return found
        return None
