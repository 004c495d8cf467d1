"""The image worker: decodes messages, has the mode judge them, and names what they were judged against."""

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol, runtime_checkable

from config import ImageSettings
from schemas import ImageMessage, ImageResult, Reference
from workers.errors import FatalError, MessageError, PipelineError
from workers.image.claim_check import ClaimChecks, verify
from workers.image.decode import Decoder
from workers.image.models.runtime import available_cores
from workers.image.modes.base import DecodedImage, Finding, Mode
from workers.image.modes.registry import create_mode, decode_px
from workers.image.references import Aliases, read_reference, reference_entries

PIXELS_PER_BYTE: Final = 8
"""Estimate for a compressed photograph, used only to close batches."""
UNKNOWN_PIXELS: Final = 1_000_000
"""Estimate where a claim check states no size."""
ENROL_CHUNK: Final = 64
"""References decoded at a time at start, so that a large gallery never lies decoded in memory."""


@runtime_checkable
class Fits(Protocol):
    """A mode that learns from all its references together, which may take a while."""

    def fit(self) -> None:
        """Learn now rather than at the first match."""


@dataclass(frozen=True)
class Prepared:
    """A message with its decoded image."""

    message: ImageMessage
    image: DecodedImage


class ImageWorker:
    """Judges images against references. Implements `workers.base.Worker`.

    An error of the mode on a whole batch goes up to the caller, who may try its images one by one.

    `prepare` may run beside `run`. References may be changed by `apply` from any thread; a change is in force
    from the next `run` on.

    Args:
        settings: the image section.
        mode: the way of matching; the one that the settings name, built by `load`, where it is left out.
        claim_checks: how claim checks are redeemed.
    """

    def __init__(
        self,
        settings: ImageSettings,
        mode: Callable[[ImageSettings], Mode] = create_mode,
        claim_checks: ClaimChecks | None = None,
    ) -> None:
        self._settings = settings
        self._create_mode = mode
        self._mode: Mode | None = None
        self._decoder = Decoder(settings.max_bytes, settings.max_pixels, decode_px(settings))
        self._claim_checks = claim_checks or ClaimChecks(settings)
        self._pool = ThreadPoolExecutor(settings.threads or available_cores(), "decode")
        self._lock = threading.Lock()
        self._digests: dict[str, str] = {}
        self._aliases = Aliases(())
        self._version = ""
        self._gallery = settings.references.name if settings.references else "default"

    @property
    def model(self) -> str:
        """The model's name, as it stands in results."""
        return self._loaded().model

    @property
    def version(self) -> str:
        """Hash of the references and of the settings that change a verdict."""
        return self._version

    @property
    def gallery(self) -> str:
        """Name of the references in force."""
        return self._gallery

    def load(self) -> None:
        """Load the model and the references that the settings name.

        Raises:
            FatalError: the model or a reference can't be used.
        """
        self._mode = self._create_mode(self._settings)
        self._mark_version()
        if self._settings.references is not None:
            entries = iter(reference_entries(self._settings.references))
            while chunk := [
                read_reference(e, self._settings.max_bytes) for e in islice(entries, ENROL_CHUNK)
            ]:
                for reference, error in zip(chunk, self.apply(chunk), strict=True):
                    if error is not None:
                        raise FatalError(f"reference {reference.id}: {error.detail} ({error.reason})")
        if self._digests and isinstance(self._mode, Fits):
            self._mode.fit()

    def apply(self, references: Sequence[Reference]) -> list[PipelineError | None]:
        """Enrol, replace or remove references, in this order; in force from the next `run` on.

        Returns:
            What is wrong with each, None where it was taken; a wrong one leaves its former self in force.
        """
        decoded = list(self._pool.map(self._decoded_or_none, references))
        errors: list[PipelineError | None] = []
        with self._lock:
            mode = self._loaded()
            for kind, group in _runs(list(zip(references, decoded, strict=True))):
                errors.extend(self._apply_run(mode, kind, group))
            self._aliases = Aliases(self._digests)
            self._mark_version()
        return errors

    def _apply_run(
        self, mode: Mode, kind: str, group: list[tuple[Reference, DecodedImage | PipelineError | None]]
    ) -> list[PipelineError | None]:
        """Apply neighbours of one kind (`remove`, `enrol` or `wrong`) together."""
        if kind == "remove":
            ids = [reference.id for reference, _ in group]
            mode.remove(ids)
            for member in ids:
                self._digests.pop(member, None)
            return [None] * len(group)
        if kind == "wrong":
            return [image for _, image in group if isinstance(image, PipelineError)]
        pairs = [(reference, image) for reference, image in group if isinstance(image, DecodedImage)]
        try:
            mode.enrol(pairs)
        except MessageError as error:
            if len(pairs) > 1:  # find out whose fault it is; the others are taken
                return [e for pair in pairs for e in self._apply_run(mode, kind, [pair])]
            return [error]
        for reference, _ in pairs:
            self._digests[reference.id] = _reference_digest(reference)
        return [None] * len(pairs)

    @contextmanager
    def lent(self, references: Sequence[Reference]) -> Iterator[None]:
        """Enrol references for a while only, without a new version; wrong ones are passed over."""
        version = self._version
        self.apply(references)
        self._version = version
        try:
            yield
        finally:
            self.apply([Reference(id=reference.id, removed=True) for reference in references])

    def knows(self, name: str) -> bool:
        """Whether a message may name a reference so."""
        return self._aliases.find(name) is not None

    def cost(self, message: ImageMessage) -> int:
        """Estimate the pixels of an image from its bytes, without decoding it."""
        size = message.size if message.content is None else len(message.content)
        if size is None:
            return UNKNOWN_PIXELS
        return min(max(1, size * PIXELS_PER_BYTE), self._settings.max_pixels)

    def prepare(self, batch: Sequence[ImageMessage]) -> list[Prepared | PipelineError]:
        """Fetch and decode images, several at a time; same length and order as the input."""
        return list(self._pool.map(self._prepare_one, batch))

    def run(self, prepared: Sequence[Prepared | PipelineError]) -> list[ImageResult | PipelineError]:
        """Judge prepared images; same length and order; errors pass through untouched."""
        good = [(position, item) for position, item in enumerate(prepared) if isinstance(item, Prepared)]
        results: list[ImageResult | PipelineError | None] = [
            item if isinstance(item, PipelineError) else None for item in prepared
        ]
        with self._lock:
            pairs = [(self._with_reference(item.message), item.image) for _, item in good]
            findings = self._loaded().match(pairs) if pairs else []
            for (position, item), finding in zip(good, findings, strict=True):
                results[position] = self._result(item, finding) if isinstance(finding, Finding) else finding
        return [result for result in results if result is not None]

    def close(self) -> None:
        """Give the decoding threads back."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _loaded(self) -> Mode:
        if self._mode is None:
            raise FatalError("the image worker has not been loaded", reason="model_load")
        return self._mode

    def _prepare_one(self, message: ImageMessage) -> Prepared | PipelineError:
        try:
            return Prepared(message, self._decoded(message))
        except PipelineError as error:
            return error

    def _decoded_or_none(self, reference: Reference) -> DecodedImage | PipelineError | None:
        if reference.removed:
            return None
        try:
            return self._decoded(reference)
        except PipelineError as error:
            return error

    def _decoded(self, source: ImageMessage | Reference) -> DecodedImage:
        content = source.content
        if content is not None and source.dataref is None:
            verify(content, size=source.size, sha256=source.sha256)
        elif content is None and source.dataref is not None:
            content = self._claim_checks.fetch(source.dataref, size=source.size, sha256=source.sha256)
        else:
            raise MessageError("an image needs either its bytes or a dataref", reason="schema")
        return self._decoder.decode(content)

    def _with_reference(self, message: ImageMessage) -> ImageMessage:
        """Compare mode: name the reference by its id, whatever name the message has for it."""
        if self._settings.mode != "compare":
            return message
        found = self._aliases.find(message.reference)
        return message if found is None else message.model_copy(update={"reference": found})

    def _result(self, item: Prepared, finding: Finding) -> ImageResult:
        return ImageResult(
            id=item.message.id,
            mode=self._settings.mode,
            verdict=finding.verdict,
            score=finding.score,
            threshold=finding.threshold,
            probability=finding.probability,
            regions=finding.regions,
            neighbors=finding.neighbors,
            model=self.model,
            gallery=self._gallery,
            version=self._version,
            width=item.image.width,
            height=item.image.height,
            heat_map=finding.heat_map if self._settings.heat_maps else None,
            compared_with=finding.compared_with,
        )

    def _mark_version(self) -> None:
        settings = self._settings
        parts = [settings.mode, self.model, settings.threshold, settings.false_alarms, settings.false_accepts]
        parts += [settings.top, settings.side_px, settings.model]
        parts += [*(f"{key}={value}" for key, value in sorted(self._digests.items()))]
        self._version = hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]


def create_image_worker(settings: ImageSettings) -> ImageWorker:
    """Build the image worker; nothing is loaded before `load`."""
    return ImageWorker(settings)


def _runs(
    items: list[tuple[Reference, DecodedImage | PipelineError | None]],
) -> Iterator[tuple[str, list[tuple[Reference, DecodedImage | PipelineError | None]]]]:
    """Cut a list into runs of one kind, in order: a removal must not overtake an enrolment."""
    group: list[tuple[Reference, DecodedImage | PipelineError | None]] = []
    last = ""
    for reference, image in items:
        kind = "remove" if image is None else "enrol" if isinstance(image, DecodedImage) else "wrong"
        if group and kind != last:
            yield last, group
            group = []
        last = kind
        group.append((reference, image))
    if group:
        yield last, group


def _reference_digest(reference: Reference) -> str:
    facts = [reference.subject, reference.label, sorted((reference.metadata or {}).items())]
    content = hashlib.sha256(reference.content or b"").hexdigest()
    content = reference.sha256 or (content if reference.content is not None else str(reference.dataref))
    return hashlib.sha256("\0".join(map(str, [content, *facts])).encode()).hexdigest()
