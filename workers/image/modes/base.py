"""The contract of a mode: verdicts on decoded images against enrolled references."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from schemas import HeatMap, ImageMessage, ImageMode, Neighbor, Reference, Region, Verdict
from workers.errors import PipelineError

Pending = Literal["nothing", "learning", "enrolment"]
"""What waits for `fit`: nothing; what all references teach together (those removed are out already); or
references themselves, that are not in force before."""


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
    """One way of matching.

    A mode that matches is never changed: a `fork` is, in another thread, and takes its place. What is slow
    about a reference stands in `describe`, which may run beside everything else.
    """

    mode: ImageMode
    model: str
    """Name of the model whose features are compared, as it stands in results."""

    @property
    def pending(self) -> Pending:
        """What waits for `fit`."""

    @property
    def large(self) -> bool:
        """Whether `fit` may take long, so that it is put off while references keep coming."""

    @property
    def crowded(self) -> bool:
        """Whether it should not be put off any longer."""

    @property
    def facts(self) -> Mapping[str, str | float]:
        """What there is to tell of the references: `index`, `recall`, `threshold`."""

    def fork(self) -> Self:
        """A mode with the same references that may be changed while this one matches."""

    def describe(self, references: Sequence[tuple[Reference, DecodedImage]]) -> Sequence[object]:
        """Make what `adopt` keeps of each reference. Changes nothing, and is thread-safe.

        Raises:
            MessageError: one of the references can't be used.
        """

    def adopt(self, references: Sequence[tuple[Reference, object]]) -> None:
        """Add or replace references by id, each with what `describe` made of it.

        Raises:
            MessageError: one of them can't be used; none is taken.
        """

    def enrol(self, references: Sequence[tuple[Reference, DecodedImage]]) -> None:
        """Describe and adopt."""

    def remove(self, ids: Sequence[str]) -> None:
        """Take references out; in force from the next `match` on. Unknown ids are passed over."""

    def fit(self) -> None:
        """Learn what the references teach together; `match` does where nothing was learnt yet."""

    def match(self, batch: Sequence[tuple[ImageMessage, DecodedImage]]) -> Sequence[Finding | PipelineError]:
        """Judge images; same length and order as the input; what can't be judged is an error in its place."""


class Changeable:
    """What most modes share: forks by copying, references that are kept as `enrol` wants them."""

    copied: ClassVar[tuple[str, ...]] = ()
    """Attributes that a fork has for itself; all others it shares."""

    @property
    def pending(self) -> Pending:
        """Nothing, as `enrol` and `remove` do it all."""
        return "nothing"

    @property
    def large(self) -> bool:
        """No."""
        return False

    @property
    def crowded(self) -> bool:
        """No."""
        return False

    @property
    def facts(self) -> Mapping[str, str | float]:
        """None."""
        return {}

    def fork(self) -> Self:
        """Copy, with what `copied` names copied too."""
        made = copy.copy(self)
        for name in self.copied:
            setattr(made, name, copy.copy(getattr(made, name)))
        return made

    def describe(self, references: Sequence[tuple[Reference, DecodedImage]]) -> Sequence[object]:
        """The images as they are."""
        return [image for _, image in references]

    def adopt(self, references: Sequence[tuple[Reference, object]]) -> None:
        """Enrol the images."""
        self.enrol([(reference, image) for reference, image in references if isinstance(image, DecodedImage)])

    def enrol(self, references: Sequence[tuple[Reference, DecodedImage]]) -> None:
        """See `Mode`."""
        raise NotImplementedError

    def fit(self) -> None:
        """Nothing is left to learn."""
