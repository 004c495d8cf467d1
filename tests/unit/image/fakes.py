"""A mode that judges by brightness and a network that sees colours, so that tests need no model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from config import ImageSettings
from schemas import ImageMessage, ImageMode, Neighbor, Reference
from workers.errors import MessageError, PipelineError
from workers.image.modes.base import Changeable, DecodedImage, Finding


class BrightnessMode(Changeable):
    """Says `match` where an image is as bright as a reference. A black image makes it break."""

    model = "brightness"
    copied = ("members",)

    def __init__(self, settings: ImageSettings) -> None:
        self.mode: ImageMode = settings.mode
        self.members: dict[str, float] = {}
        self.batches: list[int] = []

    def enrol(self, references: Sequence[tuple[Reference, DecodedImage]]) -> None:
        for reference, image in references:
            if reference.label == "refused":
                raise MessageError("refused")
            self.members[reference.id] = float(image.pixels.mean())

    def remove(self, ids: Sequence[str]) -> None:
        for member in ids:
            self.members.pop(member, None)

    def match(self, batch: Sequence[tuple[ImageMessage, DecodedImage]]) -> list[Finding | PipelineError]:
        self.batches.append(len(batch))
        found: list[Finding | PipelineError] = []
        for message, image in batch:
            bright = float(image.pixels.mean())
            if bright == 0:
                raise RuntimeError("too dark")
            if not self.members:
                found.append(MessageError("no reference", reason="empty_gallery"))
                continue
            name, nearest = min(self.members.items(), key=lambda member: abs(member[1] - bright))
            gap = abs(nearest - bright)
            found.append(
                Finding(
                    verdict="match" if gap < 5 else "no_match",
                    score=-gap,
                    neighbors=(Neighbor(id=name, similarity=-gap),),
                    compared_with=message.reference,
                )
            )
        return found


class ColourBackbone:
    """A network that sees nothing but how much there is of each colour; it counts the images it was shown."""

    name = "colours"

    def __init__(self, fingerprint: str = "f00") -> None:
        self.fingerprint = fingerprint
        self.shown = 0

    def features(self, images: Sequence[NDArray[np.uint8]], taps: Sequence[str]) -> Any:
        self.shown += len(images)
        found = []
        for pixels in images:
            cells = pixels.reshape(-1, 3).astype(np.float32)
            found.append((np.stack([np.full((2, 2), m) * np.eye(2) for m in (*cells.mean(0), 20.0)]),))
        return found
