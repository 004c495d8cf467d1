"""Records of the references topic, sorted: what goes, what comes, and what can't be used."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from schemas import Reference
from workers.base import Applied, Change
from workers.errors import PipelineError
from workers.image.parse import parse_reference

MAX_FACT_CHARS = 200


@dataclass
class GalleryChanges:
    """What changes of one gallery ask for; of each reference only the newest counts.

    Attributes:
        removed: ids.
        references: to be added or replaced.
        refused: why others stay out.
        published_ms: of the newest change.
    """

    name: str
    removed: list[str] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    refused: list[Applied] = field(default_factory=list)
    published_ms: int = 0
    stamps: dict[str, int] = field(default_factory=dict)

    def add_outcome(self, other: "GalleryChanges") -> None:
        """Note what came of further changes; references that have been taken are not held any longer."""
        self.references = []
        if other is not self:
            self.refused += other.refused
            self.published_ms = max(self.published_ms, other.published_ms)

    def refuse(self, reference: Reference, error: PipelineError) -> None:
        """Note that a reference can't be used."""
        self.refused.append(
            _refused(self.name, reference.id, reference.sha256, error, self.stamps.get(reference.id, 0))
        )


def sort_changes(changes: Sequence[Change], max_bytes: int) -> dict[str, GalleryChanges]:
    """Sort changes by gallery.

    Args:
        changes: in the order in which they were published.
        max_bytes: a larger value is refused.
    """
    newest = {change.key: change for change in changes}
    found: dict[str, GalleryChanges] = {}
    for change in newest.values():
        name, _, member = change.key.partition("/")
        gallery = found.setdefault(name[:128] or "default", GalleryChanges(name[:128] or "default"))
        gallery.published_ms = max(gallery.published_ms, change.timestamp_ms)
        try:
            reference = parse_reference(change, max_bytes)
        except PipelineError as error:
            gallery.refused.append(_refused(gallery.name, member, None, error, change.timestamp_ms))
            continue
        gallery.stamps[reference.id] = change.timestamp_ms
        if reference.removed:
            gallery.removed.append(reference.id)
        else:
            gallery.references.append(reference)
    return found


def _refused(name: str, member: str, version: str | None, error: PipelineError, published_ms: int) -> Applied:
    shown = member[:MAX_FACT_CHARS]
    return Applied(
        name=name,
        version=version,
        refused=f"{shown}: {error.detail} ({error.reason})",
        published_ms=published_ms,
        facts=(("id", shown), ("reason", error.reason)),
    )
