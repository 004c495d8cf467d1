"""Grouping what differs into flaws, each with a box and a score."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.image.compare.difference import Box, Extremes, excess

Grey = NDArray[np.uint8]

HALF_SCORE: Final = 6.0
"""Size of a flaw that scores 0.5, in pixels: a full-contrast square of 4 pixels has 4, one of 6 has 12."""
_WINDOW_PX: Final = 16
"""How far about a flaw the pictures are compared under small shifts, in pixels."""
_SHIFTS: Final = tuple(
    (dx * step, dy * step)
    for step in (1, 2)
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
)
"""Local shifts of the test image that may explain a difference away, in pixels."""
_PAD_PX: Final = 2
"""The longest of these shifts."""
_SAFE_RADIUS_PX: Final = 4.0
"""A difference that holds a circle of this radius is more than a local shift of 2 pixels can make."""
_THIN: Final = 0.25
"""What a pixel of a line 2 pixels wide counts; one that is in a square of 3 counts whole as well."""
_OVERLAP: Final = 0.6
"""Regions whose widened boxes share so much of the smaller one are one region."""
_SQUARE_2: Final = np.ones((2, 2), np.uint8)
_SQUARE_3: Final = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class Flaw:
    """A place where the test image differs, in pixels of the reference.

    Attributes:
        box: x1, y1, x2, y2 around what differs, without margin.
        score: in [0, 1), see `HALF_SCORE`.
    """

    box: Box
    score: float


class FlawFinder:
    """Finds flaws in the difference of two aligned pictures.

    A difference counts by its size in pixels: the root of its area times the radius of the largest circle
    inside it less one, so that wandering edges, long and thin, count little. What vanishes when the test
    image is shifted by a pixel or two about there counts less still: that is a board bent, not a flaw.

    Args:
        contrast: grey levels that count as full contrast.
        floor: share of full contrast below which a pixel counts as equal.
        join_px: fragments at most so far apart are one flaw.
        margin_px: what boxes will be widened by; boxes that then overlap much are joined.
    """

    def __init__(self, contrast: float, floor: float, join_px: int, margin_px: int) -> None:
        self._contrast = contrast
        self._level = floor * contrast
        self._reach = join_px // 2
        self._margin_px = margin_px

    def find(
        self, reference: Extremes, test: Extremes, beyond: Grey, valid: NDArray[np.bool_] | None
    ) -> list[Flaw]:
        """Flaws, highest score first.

        Args:
            reference: the reference with its extremes, shape (h, w).
            test: the aligned test image with its extremes, shape (h, w).
            beyond: what `excess` gives, shape (h, w).
            valid: bool, shape (h, w): where differences count; everywhere where left out.
        """
        both = beyond if valid is None else np.where(valid, beyond, 0).astype(np.uint8)
        binary = self._binary(both)
        if not cv2.hasNonZero(binary):
            return []
        # from half the full contrast on a pixel counts whole: a warped edge is grey
        weight = cv2.convertScaleAbs(cv2.bitwise_and(both, binary), alpha=2 * 255 / self._contrast)
        solid = cv2.morphologyEx(weight, cv2.MORPH_OPEN, _SQUARE_3)
        raw = np.where(cv2.absdiff(reference.image, test.image) > self._level, 255, 0).astype(np.uint8)
        radius = cv2.distanceTransform(raw, cv2.DIST_L2, 3)
        padded = reference.padded(_PAD_PX), test.padded(_PAD_PX)
        flaws = []
        for box, inside in self._groups(binary):
            part = (slice(box[1], box[3]), slice(box[0], box[2]))
            area = (float(solid[part][inside].sum()) + _THIN * float(weight[part][inside].sum())) / 255
            reach = float(radius[part][inside].max())
            size = float(np.sqrt(area)) * max(0.0, reach - 1)
            if size > 0 and (reach < _SAFE_RADIUS_PX or area < 12):
                size *= self._unexplained(*padded, box) ** 2
            flaws.append(Flaw(box, size / (size + HALF_SCORE)))
        return self._joined(sorted(flaws, key=lambda flaw: -flaw.score))

    def _binary(self, both: Grey) -> Grey:
        _, binary = cv2.threshold(both, self._level, 255, cv2.THRESH_BINARY)
        opened: Grey = cv2.morphologyEx(binary, cv2.MORPH_OPEN, _SQUARE_2)
        return opened

    def _groups(self, binary: Grey) -> Iterator[tuple[Box, NDArray[np.bool_]]]:
        """The box of each group of fragments, and which of its pixels differ."""
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * self._reach + 1, 2 * self._reach + 1))
        joined = cv2.dilate(binary, kernel) if self._reach else binary
        count, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
        for index in range(1, count):
            x, y, width, height = (int(value) for value in stats[index, :4])
            window = (slice(y, y + height), slice(x, x + width))
            inside = (labels[window] == index) & (binary[window] > 0)
            rows, columns = np.nonzero(inside.any(axis=1))[0], np.nonzero(inside.any(axis=0))[0]
            if not len(rows):
                continue
            top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
            yield (x + left, y + top, x + right, y + bottom), inside[top:bottom, left:right]

    def _unexplained(self, reference: Extremes, test: Extremes, box: Box) -> float:
        """Share of the difference about a flaw that remains under the best local shift, in [0, 1].

        Both pictures come padded, so that shifts don't leave them.
        """
        height, width = test.image.shape
        window = (
            max(0, box[0] - _WINDOW_PX) + _PAD_PX,
            max(0, box[1] - _WINDOW_PX) + _PAD_PX,
            min(width - 2 * _PAD_PX, box[2] + _WINDOW_PX) + _PAD_PX,
            min(height - 2 * _PAD_PX, box[3] + _WINDOW_PX) + _PAD_PX,
        )
        ours = reference.window(window)
        still = self._count(ours, test.window(window))
        if still == 0:
            return 1.0
        best = min(self._count(ours, test.window(window, dx, dy)) for dx, dy in _SHIFTS)
        return min(1.0, best / still)

    def _count(self, reference: Extremes, test: Extremes) -> int:
        return cv2.countNonZero(self._binary(excess(reference, test)))

    def _joined(self, flaws: list[Flaw]) -> list[Flaw]:
        """Join flaws whose widened boxes overlap much; a joined flaw is as sure as its surest part."""
        kept: list[Flaw] = []
        for flaw in flaws:
            for index, other in enumerate(kept):
                if _shared(_wider(flaw.box, self._margin_px), _wider(other.box, self._margin_px)) > _OVERLAP:
                    box = (
                        min(flaw.box[0], other.box[0]),
                        min(flaw.box[1], other.box[1]),
                        max(flaw.box[2], other.box[2]),
                        max(flaw.box[3], other.box[3]),
                    )
                    # a scrap of jitter beside a flaw must not draw its box wider
                    kept[index] = replace(other, box=box) if flaw.score > 0.5 * other.score else other
                    break
            else:
                kept.append(flaw)
        return kept


def _wider(box: Box, margin: int) -> Box:
    return box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin


def _shared(one: Box, other: Box) -> float:
    """Common area over the smaller box's."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    smaller = min((one[2] - one[0]) * (one[3] - one[1]), (other[2] - other[0]) * (other[3] - other[1]))
    return width * height / max(1, smaller)
