"""The contract of a mode: verdicts on decoded images against enrolled references."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schemas import HeatMap, ImageMessage, ImageMode, Neighbor, Reference, Region, Verdict
from workers.errors import PipelineError


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image.

    Attributes:
        pixels: uint8, shape (height, width, 3), RGB, EXIF turned; may be smaller than the original where it
            was decoded in draft mode.
        width: of the original, turned, in pixels.
        height: of the original, turned, in pixels.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int

    @property
    def scale(self) -> float:
        """Original pixels to one pixel of `pixels`."""
        return self.width / int(self.pixels.shape[1])


@dataclass(frozen=True)
class Finding:
    """A verdict, before the worker adds ids and versions. Boxes are in pixels of the original image."""

    verdict: Verdict
    score: float
    threshold: float | None = None
    probability: float | None = None
    regions: tuple[Region, ...] = ()
    neighbors: tuple[Neighbor, ...] = ()
    heat_map: HeatMap | None = None
    compared_with: str | None = None


class Mode(Protocol):
    """One way of matching. A worker calls it from one thread at a time."""

    mode: ImageMode
    model: str
    """Name of the model whose features are compared, as it stands in results."""

    def enrol(self, references: Sequence[tuple[Reference, DecodedImage]]) -> None:
        """Add or replace references by id; in force from the next `match` on."""

    def remove(self, ids: Sequence[str]) -> None:
        """Take references out; in force from the next `match` on. Unknown ids are passed over."""

    def match(self, batch: Sequence[tuple[ImageMessage, DecodedImage]]) -> Sequence[Finding | PipelineError]:
        """Judge images; same length and order as the input; what can't be judged is an error in its place."""
