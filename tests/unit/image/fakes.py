"""A mode that judges by brightness, so that tests of what is around a mode need no model."""

from collections.abc import Sequence

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
