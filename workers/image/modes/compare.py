"""Compare: a photograph against one named reference, what differs boxed and scored."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from config.image import ImageSettings
from schemas import ImageMessage, ImageMode, Reference, Region
from workers.errors import MessageError, PipelineError
from workers.image.compare.align import Aligner, Transform
from workers.image.compare.difference import Box, contrast_of, excess, extremes
from workers.image.compare.flaws import Flaw, FlawFinder
from workers.image.compare.kinds import KindClassifier
from workers.image.compare.light import match_light, match_sharpness
from workers.image.compare.zones import LabelledBox, Zones, labelled_boxes, zones_of
from workers.image.modes.base import Changeable, DecodedImage, Finding, Pending

DEFAULT_THRESHOLD: Final = 0.2
"""Score from which a place counts as a defect: a size of 2 pixels, a full-contrast speck of 3 by 3."""

SAME_SCENE: Final = 0.2
"""Correlation below which an image does not show its reference; boards with flaws are above 0.8."""

MAX_UNSEEN: Final = 0.4
"""Share of the reference that may lie outside the image; more is another frame, or half a part."""

MIN_REFERENCE_SIDE_PX: Final = 16
"""A smaller reference shows nothing to compare with: whatever came would pass."""

MAX_PIXELS: Final = 12_000_000
"""Pixels up to which pictures are compared as they are; larger ones are reduced, for their memory."""


@dataclass(frozen=True)
class _Enrolled:
    """A reference, ready to be compared with."""

    id: str
    grey: NDArray[np.uint8]
    aligner: Aligner
    contrast: float
    zones: Zones


@dataclass(frozen=True)
class _Labelled:
    """A test image whose flaws a person has boxed and named."""

    of: str
    grey: NDArray[np.uint8]
    boxes: tuple[LabelledBox, ...]


class CompareMode(Changeable):
    """Compares each image with the reference it names.

    The test image is aligned (translation, rotation, scale), brought to the reference's light and sharpness,
    and differenced with a tolerance for the jitter of edges. The image's score is its highest region's score,
    in [0, 1): see `flaws.FlawFinder`. A reference's metadata may name zones to ignore or with a tolerance of
    their own, or make it a labelled example from which kinds of flaws are learnt: see `zones`.

    Args:
        settings: `threshold` is the score from which a region is reported and the verdict is `defect`;
            `margin_px` is how much wider than the flaw a box is drawn.
        margin_px: in place of the settings' `margin_px`.
        edge_tolerance_px: how far edges may wander, in pixels of the reference.
        floor: share of the reference's contrast below which a pixel counts as equal.
        join_px: fragments at most so far apart are one region, in pixels of the reference.
    """

    mode: ImageMode = "compare"
    model: str = "aligned-difference"
    copied: ClassVar[tuple[str, ...]] = ("_references", "_labelled", "_kinds")

    def __init__(
        self,
        settings: ImageSettings,
        *,
        margin_px: int | None = None,
        edge_tolerance_px: int = 1,
        floor: float = 0.4,
        join_px: int = 8,
    ) -> None:
        self._threshold = DEFAULT_THRESHOLD if settings.threshold is None else settings.threshold
        self._margin_px = settings.margin_px if margin_px is None else margin_px
        self._tolerance_px = edge_tolerance_px
        self._floor = floor
        self._join_px = join_px
        self._pool = ThreadPoolExecutor(settings.threads or os.cpu_count(), thread_name_prefix="compare")
        self._references: dict[str, _Enrolled] = {}
        self._labelled: dict[str, _Labelled] = {}
        self._kinds = KindClassifier()
        self._kinds_stale = False

    @property
    def pending(self) -> Pending:
        """References count at once, but where there are labelled boxes to be learnt from."""
        return "enrolment" if self._kinds_stale else "nothing"

    def describe(self, references: Sequence[tuple[Reference, DecodedImage]]) -> Sequence[object]:
        """Make each ready to be compared with, or to be learnt from."""
        made: list[object] = []
        for reference, image in references:
            grey, scale = _grey(image)
            boxes = labelled_boxes(reference, scale)
            if boxes is not None:
                made.append(_Labelled(str((reference.metadata or {}).get("of", "")), grey, boxes))
                continue
            _check_size(reference, grey)
            zones = zones_of(reference, (grey.shape[0], grey.shape[1]), scale)
            made.append(_Enrolled(reference.id, grey, Aligner(grey), contrast_of(grey), zones))
        return made

    def adopt(self, references: Sequence[tuple[Reference, object]]) -> None:
        """Add or replace references by id."""
        for reference, described in references:
            self._forget(reference.id)
            if isinstance(described, _Labelled):
                self._labelled[reference.id] = described
                self._kinds_stale = True
            elif isinstance(described, _Enrolled):
                self._references[reference.id] = described

    def enrol(self, references: Sequence[tuple[Reference, DecodedImage]]) -> None:
        """Add or replace references by id; in force from the next `match` on."""
        made = self.describe(references)
        self.adopt([(reference, one) for (reference, _), one in zip(references, made, strict=True)])

    def fit(self) -> None:
        """Learn the kinds of flaws."""
        if self._kinds_stale:
            self._learn_kinds()
            self._kinds_stale = False

    def remove(self, ids: Sequence[str]) -> None:
        """Take references out; unknown ids are passed over."""
        for reference_id in ids:
            self._forget(reference_id)

    def _forget(self, reference_id: str) -> None:
        self._kinds_stale = bool(self._labelled) or self._kinds.fitted
        self._references.pop(reference_id, None)
        self._labelled.pop(reference_id, None)

    def match(self, batch: Sequence[tuple[ImageMessage, DecodedImage]]) -> Sequence[Finding | PipelineError]:
        """Judge images; same length and order as the input."""
        self.fit()
        # OpenCV lets go of the interpreter's lock, so that threads share the cores
        return list(self._pool.map(self._judge, *zip(*batch, strict=True))) if batch else []

    def _learn_kinds(self) -> None:
        """Fit the kinds to the labelled boxes whose reference is enrolled."""
        examples = []
        for _, labelled in sorted(self._labelled.items()):
            enrolled = self._references.get(labelled.of)
            if enrolled is None:
                continue
            matrix = enrolled.aligner.align(labelled.grey).matrix
            lit = aligned_to(enrolled.grey, labelled.grey, matrix)
            examples += [
                (*crop_pair(enrolled.grey, lit, matrix, one.box), one.kind) for one in labelled.boxes
            ]
        self._kinds.fit(examples)

    def _judge(self, message: ImageMessage, image: DecodedImage) -> Finding | PipelineError:
        if not self._references:
            return MessageError("no reference is enrolled", reason="empty_gallery")
        if message.reference is None and len(self._references) == 1:
            enrolled = next(iter(self._references.values()))
        else:
            known = self._references.get(message.reference or "")
            if known is None:
                return MessageError(
                    f"reference {message.reference!r} is not enrolled", reason="unknown_reference"
                )
            enrolled = known
        test, scale = _grey(image)
        alignment = enrolled.aligner.align(test)
        matrix = alignment.matrix
        size = enrolled.grey.shape[::-1]
        valid = _seen(matrix, size, test.shape, self._tolerance_px + 1)
        unseen = 0.0 if valid is None else 1.0 - float(valid.mean())
        if alignment.correlation < SAME_SCENE or unseen > MAX_UNSEEN:
            return self._elsewhere(enrolled, image)
        lit = aligned_to(enrolled.grey, test, matrix, valid)
        flaws = self._flaws(enrolled, lit, valid)
        regions = []
        for flaw in flaws:
            if flaw.score >= self._threshold:
                box = _to_original(flaw.box, matrix, self._margin_px, image, scale)
                around = tuple(value / scale for value in box)
                kind = self._kinds.predict(*crop_pair(enrolled.grey, lit, matrix, around))
                regions.append(Region(box=box, score=flaw.score, kind=kind.name if kind else None))
        score = flaws[0].score if flaws else 0.0
        return Finding(
            verdict="defect" if score >= self._threshold else "ok",
            score=score,
            threshold=self._threshold,
            regions=tuple(regions),
            compared_with=enrolled.id,
        )

    def _elsewhere(self, enrolled: _Enrolled, image: DecodedImage) -> Finding:
        """The image does not show the reference, or too little of it: that can't pass for sound."""
        whole = Region(box=(0, 0, image.width, image.height), score=1.0)
        return Finding(
            verdict="defect" if self._threshold <= 1.0 else "ok",
            score=1.0,
            threshold=self._threshold,
            regions=(whole,) if self._threshold <= 1.0 else (),
            compared_with=enrolled.id,
        )

    def _flaws(
        self, enrolled: _Enrolled, lit: NDArray[np.uint8], valid: NDArray[np.bool_] | None
    ) -> list[Flaw]:
        """Flaws of an aligned image in the reference's light, highest score first."""
        reference, lit = match_sharpness(enrolled.grey, lit)
        ours, theirs = extremes(reference, self._tolerance_px), extremes(lit, self._tolerance_px)
        beyond = excess(ours, theirs)
        for (x1, y1, x2, y2), tolerance in enrolled.zones.tolerances:
            part = (slice(y1, y2), slice(x1, x2))
            looser = excess(extremes(reference, tolerance), extremes(lit, tolerance))
            beyond[part] = looser[part]
        if enrolled.zones.ignored is not None:
            valid = ~enrolled.zones.ignored if valid is None else valid & ~enrolled.zones.ignored
        finder = FlawFinder(enrolled.contrast, self._floor, self._join_px, self._margin_px)
        return finder.find(ours, theirs, beyond, valid)


def _check_size(reference: Reference, grey: NDArray[np.uint8]) -> None:
    height, width = grey.shape
    if min(height, width) < MIN_REFERENCE_SIDE_PX:
        least = f"a side is under {MIN_REFERENCE_SIDE_PX} pixels"
        raise MessageError(
            f"reference {reference.id!r} is {width} x {height}: {least}", reason="image_undecodable"
        )


def _grey(image: DecodedImage) -> tuple[NDArray[np.uint8], float]:
    """The grey picture that is compared, and original pixels to one of its pixels."""
    grey = cv2.cvtColor(image.pixels, cv2.COLOR_RGB2GRAY)
    if grey.size > MAX_PIXELS:
        factor = (MAX_PIXELS / grey.size) ** 0.5
        size = (max(1, round(grey.shape[1] * factor)), max(1, round(grey.shape[0] * factor)))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return grey, image.width / int(grey.shape[1])


def aligned_to(
    reference: NDArray[np.uint8],
    test: NDArray[np.uint8],
    matrix: Transform,
    valid: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """The test image as the reference would show it, in the reference's light, shape of the reference."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    aligned = cv2.warpAffine(
        test, matrix, reference.shape[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return match_light(reference, aligned, valid)


def crop_pair(
    reference: NDArray[np.uint8], aligned: NDArray[np.uint8], matrix: Transform, box: tuple[float, ...]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Crops of both pictures about a box of the test image, in the test image's pixels."""
    back = cv2.invertAffineTransform(matrix)
    x1, y1, x2, y2 = box
    x, y = back @ np.array([[x1, x2, x1, x2], [y1, y1, y2, y2], [1, 1, 1, 1]], np.float64)
    height, width = reference.shape
    left, top = min(max(0, int(x.min())), width - 1), min(max(0, int(y.min())), height - 1)
    right, bottom = max(left + 1, int(np.ceil(x.max()))), max(top + 1, int(np.ceil(y.max())))
    part = (slice(top, bottom), slice(left, right))
    return reference[part], aligned[part]


def _seen(
    matrix: Transform, size: tuple[int, int], test: tuple[int, ...], border_px: int
) -> NDArray[np.bool_] | None:
    """Where the reference's pixels lie inside the test image; None where all of them do."""
    width, height = size
    corners = np.array([[0, width - 1, 0, width - 1], [0, 0, height - 1, height - 1], [1, 1, 1, 1]])
    x, y = matrix @ corners
    if min(x.min(), y.min()) > -0.5 and x.max() < test[1] - 0.5 and y.max() < test[0] - 0.5:
        return None
    inside = np.full(test, 255, np.uint8)
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    seen = cv2.warpAffine(inside, matrix, size, flags=flags, borderMode=cv2.BORDER_CONSTANT)
    kernel = np.ones((2 * border_px + 1, 2 * border_px + 1), np.uint8)
    seen = cv2.erode(seen, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=255)
    return np.asarray(seen > 0)


def _to_original(box: Box, matrix: Transform, margin_px: int, image: DecodedImage, scale: float) -> Box:
    """A box of the reference, with margin, in pixels of the original test image and inside it."""
    x1, y1, x2, y2 = box
    x1, y1, x2, y2 = x1 - margin_px, y1 - margin_px, x2 + margin_px, y2 + margin_px
    # a box's edges lie between pixels, half a pixel off their centres
    corners = np.array([[x1, x2, x1, x2], [y1, y1, y2, y2], [1, 1, 1, 1]], np.float64)
    corners[:2] -= 0.5
    x, y = (matrix @ corners + 0.5) * scale
    left, right = round(float(np.sort(x)[:2].mean())), round(float(np.sort(x)[2:].mean()))
    top, bottom = round(float(np.sort(y)[:2].mean())), round(float(np.sort(y)[2:].mean()))
    left, top = min(max(left, 0), image.width - 1), min(max(top, 0), image.height - 1)
    return left, top, max(left + 1, min(right, image.width)), max(top + 1, min(bottom, image.height))
