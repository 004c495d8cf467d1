"""The galleries of a worker, by name, and what changes do to them."""

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

from config import ImageSettings
from schemas import Reference
from workers.base import Applied, Change
from workers.errors import MessageError, PipelineError
from workers.image.changes import GalleryChanges, sort_changes
from workers.image.enrolment import Enrolment, lower_priority
from workers.image.keeper import Keeper
from workers.image.live_gallery import Entry, LiveGallery
from workers.image.modes.base import Mode
from workers.image.modes.vectors import VectorMode
from workers.image.shelf import Kept, Shelf

logger = logging.getLogger(__name__)

TOGETHER: Final = 1_000
"""References that a gallery which is not open yet takes at a time, so that their images don't pile up."""


class Galleries:
    """Galleries that change while others read them. Thread-safe.

    Args:
        settings: the image section.
        mode: without references.
        enrolment: prepares references.
        start: name of the gallery that is there from the start.
    """

    def __init__(self, settings: ImageSettings, mode: Mode, enrolment: Enrolment, start: str) -> None:
        self.start = start
        self._settings = settings
        self._empty = mode
        self._enrolment = enrolment
        self._mark = _settings_mark(settings, mode.model)
        self._thread = ThreadPoolExecutor(1, "references", initializer=lower_priority)
        self._changing = threading.Lock()
        self._under_way: list[set[tuple[str, str]]] = []
        """Of each enrolment that is under way, what has been removed meanwhile."""
        self._shelf: Shelf | None = None
        if settings.snapshots is not None and isinstance(mode, VectorMode):
            self._shelf = Shelf(settings.snapshots, mode, settings.mode)
        self._kept: dict[str, Kept | None] = {}
        self._by_name: dict[str, LiveGallery] = {}
        self._by_name[start] = self._made(start)
        self.keeper = Keeper(lambda: list(self._by_name.values()), self._shelf)

    @property
    def by_name(self) -> Mapping[str, LiveGallery]:
        """All of them."""
        return self._by_name

    def meant(self, name: str | None) -> LiveGallery | None:
        """The gallery that an image means: the first one, or the only one with members, without a name."""
        ready = {known: gallery for known, gallery in self._by_name.items() if gallery.opened}
        if name is not None:
            return ready.get(name)
        first = self._by_name[self.start]
        others = [gallery for gallery in ready.values() if gallery is not first and len(gallery)]
        if len(first) or not others:
            return first
        return others[0] if len(others) == 1 else None

    def open(self) -> None:
        """Learn what there is; from now on matching goes on beside changes."""
        for gallery in list(self._by_name.values()):
            gallery.open()

    def change(self, references: Sequence[Reference], name: str) -> list[PipelineError | None]:
        """Enrol, replace or remove references of one gallery; all is learnt when it returns.

        Returns:
            What is wrong with each, None where it was taken; a wrong one leaves its former self in force.
        """
        newest = {reference.id: reference for reference in references}
        gallery = self._gallery(name)
        gallery.remove([member for member, reference in newest.items() if reference.removed])
        coming = [reference for reference in newest.values() if not reference.removed]
        errors = self._thread.submit(self._enrol, gallery, coming).result()
        gallery.learn()
        return [errors.get(r.id) if newest[r.id] is r else None for r in references]

    def apply(self, changes: Sequence[Change]) -> list[Applied]:
        """Apply records of the references topic; what is removed goes before anything else is done."""
        done: dict[str, GalleryChanges] = {}
        for part in self._parts(changes):
            found = sort_changes(part, self._settings.max_bytes)
            for one in found.values():
                self._remove(one)
            coming = [one for one in found.values() if one.references]
            if coming:
                with self._noted_removals() as removed:
                    self._thread.submit(self._enrol_all, coming, removed).result()
            for name, one in found.items():
                done.setdefault(name, one).add_outcome(one)
        self.open()
        self.keeper.changed()
        return [applied for one in done.values() for applied in (*one.refused, self._outcome(one))]

    def _parts(self, changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
        """All changes; a few at a time where nothing is matched yet, so that they don't pile up in memory."""
        if any(gallery.opened for gallery in self._by_name.values()) or len(changes) <= TOGETHER:
            yield changes
            return
        newest = list({change.key: change for change in changes}.values())
        for start in range(0, len(newest), TOGETHER):
            yield newest[start : start + TOGETHER]

    def close(self) -> None:
        """Give the threads back."""
        self.keeper.close()
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._enrolment.close()

    def _remove(self, one: GalleryChanges) -> None:
        with self._changing:
            for removed in self._under_way:
                removed.update((one.name, member) for member in one.removed)
        gallery = self._by_name.get(one.name)
        if gallery is not None and one.removed:
            gallery.remove(one.removed)

    @contextmanager
    def _noted_removals(self) -> Iterator[set[tuple[str, str]]]:
        removed: set[tuple[str, str]] = set()
        with self._changing:
            self._under_way.append(removed)
        try:
            yield removed
        finally:
            with self._changing:
                self._under_way.remove(removed)

    def _enrol_all(self, coming: Sequence[GalleryChanges], removed: set[tuple[str, str]]) -> None:
        for one in coming:
            cancelled = _Cancelled(one.name, removed)
            errors = self._enrol(self._gallery(one.name), one.references, cancelled)
            for reference in one.references:
                if reference.id in errors:
                    one.refuse(reference, errors[reference.id])

    def _enrol(
        self, gallery: LiveGallery, references: Sequence[Reference], cancelled: "_Cancelled | None" = None
    ) -> dict[str, PipelineError]:
        """Enrol references; what is wrong with some, by id."""
        errors: dict[str, PipelineError] = {}
        entries: list[Entry] = []

        def take() -> None:
            try:
                errors.update(gallery.enrol(entries, cancelled or ()))
            except Exception as error:  # what is in force stays; nothing else may suffer
                logger.exception("gallery %s could not take %d references", gallery.name, len(entries))
                failed = MessageError(
                    f"the gallery can't be learnt: {type(error).__name__}", reason="model_failed"
                )
                errors.update((entry.reference.id, failed) for entry in entries)
            entries.clear()

        fresh = [r for r in references if not gallery.has(r)]
        for made in self._enrolment.prepare(self._empty, fresh, self._known(gallery.name)):
            if isinstance(made, Entry):
                entries.append(made)
                if len(entries) >= TOGETHER and not gallery.opened:
                    take()
            else:
                errors[made[0].id] = made[1]
        if entries:
            take()
        return errors

    def _known(self, name: str) -> Callable[[str], object | None]:
        kept = self._kept.get(name)
        return (lambda _: None) if kept is None else kept.known

    def _gallery(self, name: str) -> LiveGallery:
        gallery = self._by_name.get(name)
        if gallery is None:
            gallery = self._made(name)
            self._by_name = {**self._by_name, name: gallery}
        return gallery

    def _made(self, name: str) -> LiveGallery:
        mode, kept = self._empty.fork(), None
        if self._shelf is not None and isinstance(mode, VectorMode):
            kept = self._kept[name] = self._shelf.take(name)
            if kept is not None and kept.stock is not None:
                mode.gallery.expect(kept.stock)
        return LiveGallery(name, mode, self._mark, kept.recall if kept is not None else None)

    def _outcome(self, one: GalleryChanges) -> Applied:
        gallery = self._by_name.get(one.name)
        if gallery is None or (not len(gallery) and one.name != self.start):
            self._by_name = {name: kept for name, kept in self._by_name.items() if name != one.name}
            return Applied(one.name, None, removed=True, published_ms=one.published_ms)
        current = gallery.current
        facts: dict[str, str | int | float | bool | None] = {"members": len(gallery)}
        facts |= {"checksum": str(current.checksum), "refused": len(one.refused), **current.mode.facts}
        return Applied(
            one.name,
            current.version,
            removed=not len(gallery),
            published_ms=one.published_ms,
            facts=tuple(facts.items()),
        )


class _Cancelled:
    """The ids of one gallery among what was removed; grows while an enrolment is under way."""

    def __init__(self, name: str, removed: set[tuple[str, str]]) -> None:
        self._name = name
        self._removed = removed

    def __contains__(self, member: object) -> bool:
        return (self._name, member) in self._removed


def _settings_mark(settings: ImageSettings, model: str) -> str:
    """Hash of the settings that change a verdict, 8 hexadecimal digits."""
    parts = [settings.mode, model, settings.threshold, settings.false_alarms, settings.false_accepts]
    parts += [settings.top, settings.side_px, settings.model]
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:8]
