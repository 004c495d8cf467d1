"""The work of `feedsight match`: images in, in order, batches through the worker, lines of JSON out."""

import itertools
import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from pydantic import ValidationError

from cli.live_manifest import live_entries
from cli.progress import Progress, say
from config import ImageSettings
from schemas import ImageMessage, ImageResult, Reference
from workers.errors import FatalError, MessageError, PipelineError, TransientError
from workers.image.heat_pictures import write_heat_picture
from workers.image.manifest import (
    BadLine,
    Entry,
    ManifestLine,
    folder_entries,
    is_manifest,
    manifest_entries,
)
from workers.image.references import read_reference
from workers.image.worker import ImageWorker, Prepared, create_image_worker

NEEDS_REFERENCES: Final = ("similarity", "defect", "signature")


class UsageError(Exception):
    """The command line can't be carried out; one line that says why."""


@dataclass(frozen=True)
class Input:
    """One image of the command line: its message, or why there is none."""

    id: str
    message: ImageMessage | None
    error: PipelineError | None
    entry: Entry | None = None


@dataclass(frozen=True)
class Batch:
    """Inputs that are judged together, decoded."""

    inputs: Sequence[Input]
    prepared: Sequence[Prepared | PipelineError]


class MatchRun:
    """Judges the images of one command line. Memory is bounded by the batch, not by the list.

    Args:
        settings: the image section.
        images: as given: paths of images, folders and manifests, or `-`.
        heatmaps: a folder for pictures of the heat maps.
    """

    def __init__(self, settings: ImageSettings, images: Sequence[str], heatmaps: Path | None) -> None:
        self._settings = settings
        self._images = images
        self._heatmaps = heatmaps
        self._failed = 0

    def to(self, output: BinaryIO) -> int:
        """Write a line for each image; gives the exit status, 0 or 1.

        Raises:
            FatalError: the model or the references can't be used.
            UsageError: an argument makes no sense.
        """
        settings = self._settings
        if settings.references is None and settings.mode in NEEDS_REFERENCES:
            raise UsageError(f"--mode {settings.mode} needs --references")
        self._check_arguments()
        worker = create_image_worker(settings)
        if settings.references is not None:
            say(f"learning from {settings.references} ...")
        worker.load()
        if settings.mode == "uniqueness" and settings.references is None:
            self._enrol_inputs(worker)
        with ThreadPoolExecutor(1, "prepare") as ahead, Progress("images") as progress:
            for batch in _one_ahead(ahead, self._batches(worker), worker):
                lines = [self._line(one, outcome) for one, outcome in self._judged(worker, batch)]
                output.write(b"".join(lines))
                output.flush()
                progress.advance(len(lines))
        worker.close()
        return 1 if self._failed else 0

    def _check_arguments(self) -> None:
        if "-" in self._images and self._settings.mode == "uniqueness" and not self._settings.references:
            raise UsageError("--mode uniqueness reads its images twice: name a file instead of -")
        for given in self._images:
            if given != "-" and is_manifest(Path(given)) and not Path(given).exists():
                raise UsageError(f"manifest {given} does not exist")
            if given != "-" and Path(given).is_dir() and not folder_entries(Path(given)):
                raise UsageError(f"folder {given} holds no image")
        if self._heatmaps is not None:
            try:
                self._heatmaps.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(f"--heatmaps {self._heatmaps} can't be made: {error.strerror}") from error

    def _enrol_inputs(self, worker: ImageWorker) -> None:
        """Make the images themselves the collection; those that can't be read get their error later."""
        for inputs in self._batches(worker):
            messages = [one.message for one in inputs if one.message is not None]
            worker.apply([Reference(id=m.id, content=m.content, label=m.label) for m in messages])

    def _batches(self, worker: ImageWorker) -> Iterator[list[Input]]:
        """Close a batch at the settings' number of images or of estimated pixels.

        It is closed too, and an empty one follows, where the next image has yet to come.
        """
        batch: list[Input] = []
        pixels = 0
        for one in self._inputs():
            if one is None:
                yield batch
                yield []
                batch, pixels = [], 0
                continue
            batch.append(one)
            pixels += worker.cost(one.message) if one.message else 0
            if len(batch) >= self._settings.max_batch_items or pixels >= self._settings.max_batch_pixels:
                yield batch
                batch, pixels = [], 0
        if batch:
            yield batch

    def _inputs(self) -> Iterator[Input | None]:
        number = 0
        for entry in self._entries():
            number += entry is not None
            if entry is None:
                yield None
            elif isinstance(entry, BadLine):
                yield Input(entry.id or f"line {number}", None, entry.error)
            else:
                yield _read_input(entry, self._settings.max_bytes)

    def _entries(self) -> Iterator[Entry | BadLine | None]:
        for given in self._images:
            path = Path(given)
            if given == "-":
                yield from live_entries(sys.stdin.buffer)
            elif path.is_dir():
                yield from folder_entries(path)
            elif is_manifest(path):
                with path.open("rb") as lines:
                    yield from manifest_entries(lines, path.parent)
            else:
                yield Entry(given, path, ManifestLine(path=given), Path())

    def _judged(
        self, worker: ImageWorker, batch: Batch
    ) -> Iterable[tuple[Input, ImageResult | PipelineError]]:
        """Judge a batch; an image sees the references that its own line lends, never a neighbour's."""
        lent = [self._lends(worker, one) for one in batch.inputs]
        if not any(lent):
            return zip(batch.inputs, _run(worker, batch.prepared), strict=True)
        shared = iter(_run(worker, [one for one, own in zip(batch.prepared, lent, strict=True) if not own]))
        with worker.lent(self._own_references(batch.inputs, lent)):
            own = iter(_run(worker, [one for one, own in zip(batch.prepared, lent, strict=True) if own]))
        outcomes = [next(own if borrows else shared) for borrows in lent]
        return zip(batch.inputs, outcomes, strict=True)

    def _lends(self, worker: ImageWorker, one: Input) -> bool:
        """Whether a manifest line names by path a reference that is not enrolled."""
        if self._settings.mode != "compare" or one.entry is None or one.entry.line.reference is None:
            return False
        name = one.entry.line.reference
        return not worker.knows(name) and (one.entry.base / name).is_file()

    def _own_references(self, inputs: Sequence[Input], lent: Sequence[bool]) -> list[Reference]:
        """References that manifest lines name by path: enrolled for the batch only."""
        found: dict[str, Reference] = {}
        for one, borrows in zip(inputs, lent, strict=True):
            name = one.entry.line.reference if one.entry else None
            if not borrows or one.entry is None or name is None or name in found:
                continue
            entry = Entry(name, one.entry.base / name, ManifestLine(path=name), one.entry.base)
            try:
                found[name] = read_reference(entry, self._settings.max_bytes)
            except (FatalError, ValidationError):
                continue  # the image's own line says that its reference is not known
        return list(found.values())

    def _line(self, one: Input, outcome: ImageResult | PipelineError) -> bytes:
        if isinstance(outcome, PipelineError):
            self._failed += 1
            error = {"reason": outcome.reason, "detail": outcome.detail}
            return json.dumps({"id": one.id, "error": error}, ensure_ascii=False).encode() + b"\n"
        if self._heatmaps is not None and outcome.heat_map is not None and one.entry is not None:
            write_heat_picture(self._heatmaps, outcome, one.entry.path, self._settings)
        return outcome.to_json() + b"\n"


def _read_input(entry: Entry, max_bytes: int) -> Input:
    try:
        with entry.path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        detail = f"can't be read: {getattr(error, 'strerror', None) or error}"
        return Input(entry.id, None, MessageError(detail, reason="claim_check_unreachable"), entry)
    line = entry.line
    try:
        message = ImageMessage(
            id=entry.id,
            content=content,
            sha256=line.sha256,
            subject=line.subject,
            reference=line.reference,
            label=line.label,
            metadata=line.metadata,
        )
    except ValidationError as error:
        first = error.errors()[0]
        detail = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        return Input(entry.id, None, MessageError(detail), entry)
    return Input(entry.id, message, None, entry)


def _one_ahead(
    executor: ThreadPoolExecutor, batches: Iterator[list[Input]], worker: ImageWorker
) -> Iterator[Batch]:
    """Decode the next batch while the present one is judged; an empty one keeps nothing waiting."""

    def decode(inputs: list[Input]) -> Batch:
        messages = [one.message for one in inputs if one.message is not None]
        decoded = iter(worker.prepare(messages))
        prepared = [one.error if one.error is not None else next(decoded) for one in inputs]
        # The bytes have done their work; a batch that waits holds pixels only.
        return Batch([Input(one.id, None, one.error, one.entry) for one in inputs], prepared)

    waiting: deque[Future[Batch]] = deque()
    for inputs in itertools.chain(batches, [None]):
        if inputs:
            waiting.append(executor.submit(decode, inputs))
        while waiting and (not inputs or len(waiting) > 1):
            yield waiting.popleft().result()


def _run(
    worker: ImageWorker, prepared: Sequence[Prepared | PipelineError]
) -> list[ImageResult | PipelineError]:
    """Run a batch; where it fails as a whole, each image alone, so that one never fails its neighbours."""
    try:
        return worker.run(prepared)
    except FatalError:
        raise
    except Exception as error:
        if len(prepared) > 1:
            return [outcome for one in prepared for outcome in _run(worker, [one])]
        if isinstance(error, (MessageError, TransientError)):
            return [error]
        detail = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        return [MessageError(detail, reason="model_failed")]
