"""Boxes in a reference's metadata: what to ignore, where edges may wander further, and labelled flaws.

All are text, in pixels of the original image:

    ignore:    "x1,y1,x2,y2; x1,y1,x2,y2"
    tolerance: "x1,y1,x2,y2=3; x1,y1,x2,y2=0"           edge tolerance in pixels inside the box
    defects:   "x1,y1,x2,y2=open; x1,y1,x2,y2=short"    with `of`, the id of its reference

A reference with `defects` is no reference to compare with but a photograph whose flaws are boxed and named;
the kinds of flaws are learnt from it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas import Reference
from workers.errors import MessageError
from workers.image.compare.difference import Box


@dataclass(frozen=True)
class Zones:
    """The zones of a reference, in pixels of its decoded picture.

    Attributes:
        ignored: bool, shape (h, w), or None where nothing is ignored.
        tolerances: boxes with the edge tolerance inside them, in pixels.
    """

    ignored: NDArray[np.bool_] | None
    tolerances: tuple[tuple[Box, int], ...]


def zones_of(reference: Reference, shape: tuple[int, int], scale: float) -> Zones:
    """Read the zones of a reference.

    Args:
        reference: its metadata may carry `ignore` and `tolerance`.
        shape: height and width of its decoded picture.
        scale: original pixels to one decoded pixel.

    Raises:
        MessageError: a zone that can't be read.
    """
    metadata = reference.metadata or {}
    ignored = None
    for box in _entries(metadata.get("ignore"), reference.id):
        if ignored is None:
            ignored = np.zeros(shape, np.bool_)
        x1, y1, x2, y2 = _scaled(_box(box, reference.id), scale, shape)
        ignored[y1:y2, x1:x2] = True
    tolerances = []
    for entry in _entries(metadata.get("tolerance"), reference.id):
        corners, _, pixels = entry.partition("=")
        try:
            tolerance = round(float(pixels) / scale)
        except ValueError as error:
            raise _unreadable(entry, reference.id) from error
        if not 0 <= tolerance <= 50:
            raise _unreadable(entry, reference.id)
        tolerances.append((_scaled(_box(corners, reference.id), scale, shape), tolerance))
    return Zones(ignored, tuple(tolerances))


@dataclass(frozen=True)
class LabelledBox:
    """A flaw boxed and named by a person, in decoded pixels."""

    box: tuple[float, float, float, float]
    kind: str


def labelled_boxes(reference: Reference, scale: float) -> tuple[LabelledBox, ...] | None:
    """The labelled flaws in `defects`, or None where the reference carries none.

    Raises:
        MessageError: an entry that can't be read.
    """
    text = (reference.metadata or {}).get("defects")
    if text is None:
        return None
    boxes = []
    for entry in _entries(text, reference.id):
        corners, _, kind = entry.partition("=")
        if not kind.strip():
            raise _unreadable(entry, reference.id)
        x1, y1, x2, y2 = (value / scale for value in _box(corners, reference.id))
        boxes.append(LabelledBox((x1, y1, x2, y2), kind.strip()))
    return tuple(boxes)


def _entries(text: object, reference_id: str) -> list[str]:
    if text is None:
        return []
    if not isinstance(text, str):
        raise _unreadable(str(text), reference_id)
    return [entry.strip() for entry in text.split(";") if entry.strip()]


def _box(text: str, reference_id: str) -> tuple[float, float, float, float]:
    try:
        x1, y1, x2, y2 = (float(value) for value in text.split(","))
    except ValueError as error:
        raise _unreadable(text, reference_id) from error
    if not (x2 > x1 and y2 > y1):
        raise _unreadable(text, reference_id)
    return x1, y1, x2, y2


def _scaled(box: tuple[float, float, float, float], scale: float, shape: tuple[int, int]) -> Box:
    x1, y1, x2, y2 = (round(value / scale) for value in box)
    height, width = shape
    return max(0, x1), max(0, y1), min(width, x2), min(height, y2)


def _unreadable(text: str, reference_id: str) -> MessageError:
    return MessageError(f"reference {reference_id!r}: can't read the zone {text!r}", reason="schema")
