"""A gallery that changes while images are matched against it.

What is in force is one immutable `Generation`, which a batch reads once. A change is made on a fork of it, in
another thread, and swapped in: matching never waits. Removals don't wait either, whatever is being learnt.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock

from schemas import Reference
from workers.errors import MessageError
from workers.image.membership import Checksum, content_hash, member_digest
from workers.image.modes.base import Mode
from workers.image.references import Aliases


@dataclass(frozen=True)
class Entry:
    """A reference ready to be adopted.

    Attributes:
        reference: without its bytes.
        described: what the mode made of it.
        digest: see `membership.member_digest`.
    """

    reference: Reference
    described: object
    digest: str


@dataclass(frozen=True)
class Generation:
    """A gallery at one moment.

    Attributes:
        mode: judges against its members; not to be changed.
        digests: of the members, by id.
        checksum: of the digests.
        settings: hash of the settings that change a verdict.
    """

    mode: Mode
    settings: str
    digests: Mapping[str, str]
    checksum: Checksum

    @cached_property
    def version(self) -> str:
        """Checksum of the members and hash of the settings, as it stands in results."""
        return f"{self.checksum}.{self.settings}"

    @cached_property
    def aliases(self) -> Aliases:
        """Finds members by other names than their ids."""
        return Aliases(self.digests)


class LiveGallery:
    """The generations of one gallery. Thread-safe.

    It opens once it has its first members: until then nothing is matched against it, so that it is changed in
    place, and learns only when it opens.

    Args:
        name: as it stands in results.
        mode: without references.
        settings: hash of the settings that change a verdict.
        recall: makes the mode remember what an earlier run had learnt of these members, if it had.
    """

    def __init__(
        self,
        name: str,
        mode: Mode,
        settings: str,
        recall: Callable[[Generation], None] | None = None,
    ) -> None:
        self.name = name
        self.current = Generation(mode, settings, {}, Checksum())
        """In force; replaced whole."""
        self._recall = recall
        self._open = False
        self._swapping = Lock()
        self._learning = Lock()
        """Held by who makes a fork that takes long: one at a time."""
        self._overtaken: list[str] = []
        """Removed since the fork was made."""

    def __len__(self) -> int:
        return len(self.current.digests)

    @property
    def pending(self) -> bool:
        """Whether `learn` has something to do."""
        return self.current.mode.pending != "nothing"

    @property
    def opened(self) -> bool:
        """Whether anything is matched against it yet."""
        return self._open

    def has(self, reference: Reference) -> bool:
        """Whether the very same member is in force; one whose content is not known is taken to differ."""
        if content_hash(reference) is None:
            return False
        return self.current.digests.get(reference.id) == member_digest(reference)

    def open(self) -> None:
        """Learn what there is; from now on matching goes on beside changes."""
        if self._open:
            return
        with self._learning:
            if not self._open:
                if self._recall is not None:
                    self._recall(self.current)
                self.current.mode.fit()
                self._open = True

    def enrol(self, entries: Sequence[Entry], cancelled: Container[str] = ()) -> dict[str, MessageError]:
        """Add or replace members; in force when it returns.

        Args:
            entries: the members.
            cancelled: ids that have been removed meanwhile: these are passed over.

        Returns:
            What is wrong with some of them, by id.
        """
        with self._learning:
            with self._swapping:
                self._overtaken = []
                wanted = [entry for entry in entries if entry.reference.id not in cancelled]
                former = self.current.mode
            mode = former.fork() if self._open else former
            errors = _adopt(mode, wanted)
            taken = [entry for entry in wanted if entry.reference.id not in errors]
            if self._open and (
                mode.pending == "enrolment" or (mode.pending == "learning" and not mode.large)
            ):
                mode.fit()
            self._swap(mode, taken)
        return errors

    def remove(self, ids: Sequence[str]) -> None:
        """Take members out; in force when it returns. Unknown ids are passed over."""
        if self._open:
            with self._swapping:
                self._overtaken.extend(ids)
                mode = self.current.mode.fork()
                mode.remove(ids)
                if mode.pending != "enrolment":
                    self.current = self._generation(mode, (), ids)
                    return
        with self._learning:
            with self._swapping:
                self._overtaken = []
                former = self.current.mode
            mode = former.fork() if self._open else former
            mode.remove(ids)
            if self._open:
                mode.fit()
            self._swap(mode, (), ids)

    def learn(self) -> None:
        """Learn what the members teach together, aside, and swap it in."""
        with self._learning:
            with self._swapping:
                self._overtaken = []
                former = self.current.mode
            if not self._open or former.pending == "nothing":
                return
            mode = former.fork()
            mode.fit()
            self._swap(mode, ())

    def _swap(self, mode: Mode, taken: Sequence[Entry], removed: Sequence[str] = ()) -> None:
        """Put a fork in force, without what has been removed since it was made."""
        while True:
            with self._swapping:
                overtaken, self._overtaken = self._overtaken, []
                if overtaken:
                    mode.remove(overtaken)
                if not overtaken or not self._open or mode.pending != "enrolment":
                    self.current = self._generation(mode, taken, [*removed, *overtaken])
                    return
                taken = [entry for entry in taken if entry.reference.id not in overtaken]
                removed = [*removed, *overtaken]
            mode.fit()

    def _generation(self, mode: Mode, taken: Sequence[Entry], removed: Sequence[str]) -> Generation:
        digests, checksum = dict(self.current.digests), self.current.checksum
        for entry in taken:
            if entry.reference.id in digests:
                checksum = checksum.minus(digests[entry.reference.id])
            digests[entry.reference.id] = entry.digest
            checksum = checksum.plus(entry.digest)
        for member in removed:
            if member in digests:
                checksum = checksum.minus(digests.pop(member))
        made = Generation(mode, self.current.settings, digests, checksum)
        if "aliases" in vars(self.current):  # they are asked for: better made here than in a batch
            _ = made.aliases
        return made


def _adopt(mode: Mode, entries: Sequence[Entry]) -> dict[str, MessageError]:
    """Have a mode adopt entries; where it refuses, find out which."""
    try:
        mode.adopt([(entry.reference, entry.described) for entry in entries])
    except MessageError as error:
        if len(entries) == 1:
            return {entries[0].reference.id: error}
        return {member: e for entry in entries for member, e in _adopt(mode, [entry]).items()}
    return {}
