"""A folder or manifest of references, compared with what is on the topic."""

import hashlib
import json
import mimetypes
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from config import ImageSettings
from schemas import Reference
from stream.client import Outgoing
from stream.references import Catalogue, Stored
from workers.errors import FatalError, PipelineError
from workers.image.decode import Decoder
from workers.image.manifest import Entry
from workers.image.membership import member_digest
from workers.image.references import read_reference, reference_entries

INLINE_BYTES: Final = 512 * 1024
"""Larger images go as a claim check: brokers take about a megabyte a record."""
MOST_INLINE_BYTES: Final = 900 * 1024
"""Largest image that a broker with the usual settings takes as bytes."""

Look = tuple[int, int]
"""Time of a file's last change, in nanoseconds, and its size."""


class Source:
    """References of a folder or manifest. Asked again, it gives what has changed since.

    Args:
        path: a folder or a manifest.
        gallery: that they belong to.
        settings: the image section: what is taken.
        inline: send bytes, or where they lie; left out, bytes up to INLINE_BYTES.
        prune: remove members that are not here.
    """

    def __init__(
        self, path: Path, gallery: str, settings: ImageSettings, *, inline: bool | None, prune: bool
    ) -> None:
        self.gallery = gallery
        self.enrolled = self.unchanged = self.removed = 0
        """Of the last `records`."""
        self.failed: dict[str, str] = {}
        """What is wrong with images, by their ids, of the last `records`."""
        self._path = path
        self._settings = settings
        self._decoder = Decoder(settings.max_bytes, settings.max_pixels, None)
        self._inline = inline
        self._prune = prune
        self._seen: dict[str, Look] = {}

    def records(self, catalogue: Catalogue) -> Iterator[Outgoing]:
        """Give the records that make the topic have what is here, and note in the catalogue that it has.

        Raises:
            FatalError: the folder or manifest can't be read.
        """
        self.enrolled = self.unchanged = self.removed = 0
        self.failed = {}
        first = not self._seen
        try:
            entries = {entry.id: entry for entry in reference_entries(self._path)}
        except FatalError:
            if first or not self._path.is_dir():
                raise
            entries = {}  # the last file of a folder that is watched has gone
        members = catalogue.galleries.setdefault(self.gallery, {})
        gone = [member for member in self._seen if member not in entries]
        if self._prune and first:
            gone = [member for member in members if member not in entries]
        for member in gone:
            self._seen.pop(member, None)
            if members.pop(member, None) is not None:
                self.removed += 1
                yield Outgoing(self._key(member), None)
        for entry in entries.values():
            yield from self._entry(entry, members)

    def _entry(self, entry: Entry, members: dict[str, Stored]) -> Iterator[Outgoing]:
        try:
            facts = entry.path.stat()
            look = (facts.st_mtime_ns, facts.st_size)
            if self._seen.get(entry.id) == look:
                self.unchanged += 1
                return
            self._seen[entry.id] = look
            reference = read_reference(entry, self._settings.max_bytes)
            content = reference.content or b""
            found = hashlib.sha256(content).hexdigest()
            if reference.sha256 not in (None, found):
                self.failed[entry.id] = "the sha256 differs"
                return
            self._decoder.decode(content)
            reference = reference.model_copy(update={"gallery": self.gallery, "sha256": found})
            digest = member_digest(reference)
            if entry.id in members and members[entry.id].digest == digest:
                self.unchanged += 1
                return
            record = self._record(entry, reference, content)
        except PipelineError as error:
            self.failed[entry.id] = f"{error.detail} ({error.reason})"
        except OSError as error:
            self.failed[entry.id] = f"can't be read: {error.strerror}"
        else:
            self.enrolled += 1
            members[entry.id] = Stored(reference.model_copy(update={"content": None}), digest, 0)
            yield record

    def _record(self, entry: Entry, reference: Reference, content: bytes) -> Outgoing:
        content_type = mimetypes.guess_type(entry.path.name)[0] or "application/octet-stream"
        inline = len(content) <= INLINE_BYTES if self._inline is None else self._inline
        if inline and len(content) > MOST_INLINE_BYTES:
            raise FatalError(f"{len(content)} bytes are too many for a record: leave --inline out")
        headers = [
            ("ce_specversion", b"1.0"),
            ("ce_id", f"{self.gallery}/{entry.id}".encode()),
            ("ce_type", b"feedsight.reference.v1"),
            ("ce_source", b"/feedsight/references"),
            ("ce_time", datetime.now(UTC).isoformat(timespec="milliseconds").encode()),
        ]
        if not inline:
            claim = Reference(
                dataref=str(entry.path.resolve()),
                size=len(content),
                content_type=content_type,
                **reference.model_dump(
                    include={"id", "gallery", "sha256", "subject", "label", "metadata"}, exclude_none=True
                ),
            )
            headers.append(("content-type", b"application/json"))
            return Outgoing(self._key(entry.id), claim.to_json(), tuple(headers))
        headers += [("content-type", content_type.encode()), ("sha256", (reference.sha256 or "").encode())]
        headers += [
            (name, str(value).encode())
            for name in ("subject", "label")
            if (value := getattr(reference, name)) is not None
        ]
        if reference.metadata is not None:
            headers.append(("metadata", json.dumps(reference.metadata).encode()))
        return Outgoing(self._key(entry.id), content, tuple(headers))

    def _key(self, member: str) -> bytes:
        return f"{self.gallery}/{member}".encode()
