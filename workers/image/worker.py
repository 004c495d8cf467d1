"""The image worker: decodes messages, has the mode judge them, and names what they were judged against."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar, Final

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from config import ImageSettings
from schemas import ImageMessage, ImageResult, Reference
from workers.base import Applied, Change
from workers.errors import FatalError, MessageError, PipelineError
from workers.image.claim_check import ClaimChecks, verify
from workers.image.decode import Decoder
from workers.image.enrolment import Enrolment
from workers.image.galleries import Galleries
from workers.image.live_gallery import Generation
from workers.image.models.runtime import available_cores
from workers.image.modes.base import DecodedImage, Finding, Mode
from workers.image.modes.registry import create_mode, decode_px
from workers.image.modes.vectors import VectorMode
from workers.image.references import read_reference, reference_entries

PIXELS_PER_BYTE: Final = 8
"""Estimate for a compressed photograph, used only to close batches."""
UNKNOWN_PIXELS: Final = 1_000_000
"""Estimate where a claim check states no size."""
ENROL_CHUNK: Final = 64
"""References read at a time at start, so that a large gallery never lies in memory as files."""
DEFAULT_GALLERY: Final = "default"


@dataclass(frozen=True)
class Prepared:
    """A message with its decoded image."""

    message: ImageMessage
    image: DecodedImage


class ImageWorker:
    """Judges images against references. Implements `workers.base.Worker` and `workers.base.Controllable`.

    An error of the mode on a whole batch goes up to the caller, who may try its images one by one.

    It has any number of galleries; an image names its own, or means the one that the worker was started with.
    `prepare` may run beside `run`, and references may be changed beside both: what is in force is read once a
    batch, and a change is in force from the next `run` on.

    Args:
        settings: the image section.
        mode: the way of matching; the one that the settings name, built by `load`, where it is left out.
        claim_checks: how claim checks are redeemed.
    """

    removals_overtake: ClassVar[bool] = True
    """`apply_changes` may be called with removals while it is at work on what came before them."""

    def __init__(
        self,
        settings: ImageSettings,
        mode: Callable[[ImageSettings], Mode] = create_mode,
        claim_checks: ClaimChecks | None = None,
    ) -> None:
        self._settings = settings
        self._create_mode = mode
        self._decoder = Decoder(settings.max_bytes, settings.max_pixels, decode_px(settings))
        self._claim_checks = claim_checks or ClaimChecks(settings)
        self._threads = settings.threads or available_cores()
        self._pool = ThreadPoolExecutor(self._threads, "decode")
        self._galleries: Galleries | None = None
        self._model = ""
        self._lent: str | None = None

    @property
    def model(self) -> str:
        """The model's name, as it stands in results."""
        self._loaded()
        return self._model

    @property
    def version(self) -> str:
        """Of the gallery that is meant where an image names none; see `Generation.version`."""
        if self._galleries is None:
            return ""
        return self._lent or self._first().version

    @property
    def gallery(self) -> str:
        """Name of the gallery that the worker was started with."""
        return self._settings.references.name if self._settings.references else DEFAULT_GALLERY

    @property
    def ready(self) -> bool:
        """Whether there is anything to match with: references, or a window, or settings that name some."""
        if self._galleries is None:
            return False
        if self._settings.references is not None or self._settings.window:
            return True
        return any(len(gallery) for gallery in self._galleries.by_name.values())

    @property
    def in_force(self) -> Mapping[str, str]:
        """Versions by gallery."""
        found = {} if self._galleries is None else self._galleries.by_name
        return {name: gallery.current.version for name, gallery in found.items() if len(gallery)}

    def load(self) -> None:
        """Load the model and the references that the settings name.

        Raises:
            FatalError: the model or a reference can't be used.
        """
        mode = self._create_mode(self._settings)
        self._model = mode.model
        if isinstance(mode, VectorMode):
            _multiply_in_one_thread()
        enrolment = Enrolment(self._decoder, self._claim_checks, self._threads)
        self._galleries = Galleries(self._settings, mode, enrolment, self.gallery)
        if self._settings.references is None:
            return
        entries = iter(reference_entries(self._settings.references))
        while chunk := [read_reference(e, self._settings.max_bytes) for e in islice(entries, ENROL_CHUNK)]:
            for reference, error in zip(chunk, self.apply(chunk), strict=True):
                if error is not None:
                    raise FatalError(f"reference {reference.id}: {error.detail} ({error.reason})")
        self._galleries.open()
        self._galleries.keeper.changed()

    def apply(self, references: Sequence[Reference]) -> list[PipelineError | None]:
        """Enrol, replace or remove references of the gallery the worker was started with.

        All is in force and learnt when it returns. Of several with one id the last counts.

        Returns:
            What is wrong with each, None where it was taken; a wrong one leaves its former self in force.
        """
        return self._loaded().change(references, self.gallery)

    def apply_changes(self, changes: Sequence[Change]) -> list[Applied]:
        """Apply records of the references topic; see `workers.base.Controllable` and `workers.image.parse`.

        May be called from several threads: what is removed does not wait for what is being enrolled.
        """
        return self._loaded().apply(changes)

    @contextmanager
    def lent(self, references: Sequence[Reference]) -> Iterator[None]:
        """Enrol references for a while only, without a new version; wrong ones are passed over."""
        self._lent = self.version
        self.apply(references)
        try:
            yield
        finally:
            self.apply([Reference(id=reference.id, removed=True) for reference in references])
            self._lent = None

    def knows(self, name: str) -> bool:
        """Whether a message may name a reference so."""
        return self._first().aliases.find(name) is not None

    def cost(self, message: ImageMessage) -> int:
        """Estimate the pixels of an image from its bytes, without decoding it."""
        size = message.size if message.content is None else len(message.content)
        if size is None:
            return UNKNOWN_PIXELS
        return min(max(1, size * PIXELS_PER_BYTE), self._settings.max_pixels)

    def prepare(self, batch: Sequence[ImageMessage]) -> list[Prepared | PipelineError]:
        """Fetch and decode images, several at a time; same length and order as the input."""
        self._loaded().by_name[self.gallery].open()
        return list(self._pool.map(self._prepare_one, batch))

    def run(self, prepared: Sequence[Prepared | PipelineError]) -> list[ImageResult | PipelineError]:
        """Judge prepared images; same length and order; errors pass through untouched."""
        results: list[ImageResult | PipelineError | None] = [
            item if isinstance(item, PipelineError) else None for item in prepared
        ]
        by_gallery: dict[str | None, list[tuple[int, Prepared]]] = {}
        for position, item in enumerate(prepared):
            if isinstance(item, Prepared):
                by_gallery.setdefault(item.message.gallery, []).append((position, item))
        for name, items in by_gallery.items():
            for (position, _), outcome in zip(items, self._judged(name, items), strict=True):
                results[position] = outcome
        return [result for result in results if result is not None]

    def close(self) -> None:
        """Give the threads back."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._galleries is not None:
            self._galleries.close()

    def _loaded(self) -> Galleries:
        if self._galleries is None:
            raise FatalError("the image worker has not been loaded", reason="model_load")
        return self._galleries

    def _first(self) -> Generation:
        galleries = self._loaded()
        return (galleries.meant(None) or galleries.by_name[galleries.start]).current

    def _judged(
        self, name: str | None, items: Sequence[tuple[int, Prepared]]
    ) -> list[ImageResult | PipelineError]:
        """Judge images against one gallery, all against the same generation of it."""
        galleries = self._loaded()
        gallery = galleries.meant(name)
        if gallery is None:
            known = ", ".join(sorted(galleries.by_name))[:200]
            what = "the image names no gallery" if name is None else f"there is no gallery {name!r}"
            return [MessageError(f"{what}; there is: {known}", reason="unknown_gallery") for _ in items]
        current = gallery.current
        pairs = [(self._with_reference(item.message, current), item.image) for _, item in items]
        findings = current.mode.match(pairs)
        return [
            self._result(item, finding, gallery.name, current) if isinstance(finding, Finding) else finding
            for (_, item), finding in zip(items, findings, strict=True)
        ]

    def _prepare_one(self, message: ImageMessage) -> Prepared | PipelineError:
        try:
            return Prepared(message, self._decoded(message))
        except PipelineError as error:
            return error

    def _decoded(self, source: ImageMessage) -> DecodedImage:
        content = source.content
        if content is not None and source.dataref is None:
            verify(content, size=source.size, sha256=source.sha256)
        elif content is None and source.dataref is not None:
            content = self._claim_checks.fetch(source.dataref, size=source.size, sha256=source.sha256)
        else:
            raise MessageError("an image needs either its bytes or a dataref", reason="schema")
        return self._decoder.decode(content)

    def _with_reference(self, message: ImageMessage, current: Generation) -> ImageMessage:
        """Compare mode: name the reference by its id, whatever name the message has for it."""
        if self._settings.mode != "compare":
            return message
        found = current.aliases.find(message.reference)
        return message if found is None else message.model_copy(update={"reference": found})

    def _result(self, item: Prepared, finding: Finding, gallery: str, current: Generation) -> ImageResult:
        return ImageResult(
            id=item.message.id,
            mode=self._settings.mode,
            verdict=finding.verdict,
            score=finding.score,
            threshold=finding.threshold,
            probability=finding.probability,
            regions=finding.regions,
            neighbors=finding.neighbors,
            model=self._model,
            gallery=gallery,
            version=self._lent or current.version,
            width=item.image.width,
            height=item.image.height,
            heat_map=finding.heat_map if self._settings.heat_maps else None,
            compared_with=finding.compared_with,
        )


def _multiply_in_one_thread() -> None:
    """Have numpy multiply matrices in the thread that asks for it, in all of this process.

    A search in a gallery is too short to be shared: helpers wait for work busily, and where another process
    has their core, who shares with them waits busily too. A search among 5,000 took 10 times the processor
    time so, and matching was held up for seconds while references were learned from.
    """
    threadpool_limits(1, user_api="blas")


def create_image_worker(settings: ImageSettings) -> ImageWorker:
    """Build the image worker; nothing is loaded before `load`."""
    return ImageWorker(settings)
