"""Signature: a signature verified against the specimens of the subject it claims to be."""

from collections.abc import Sequence
from typing import Final

import cv2

from config.image import ImageSettings
from schemas import ImageMessage, ImageMode, Neighbor, Reference, Verdict
from workers.errors import MessageError, PipelineError
from workers.image.modes.base import DecodedImage, Finding
from workers.image.signature.clean import clean
from workers.image.signature.describe import Description, describe
from workers.image.signature.verify import Subject

DEFAULT_THRESHOLD: Final = 0.18
"""Score from which a signature counts as genuine."""
_UNSURE: Final = 0.02
"""Scores so near the threshold are `unsure`."""


class SignatureMode:
    """Verifies signatures against 1 to 10 specimens of the subject named by the message.

    The score is in (0, 1), higher is more genuine.

    Args:
        settings: `threshold` is the score from which a signature is genuine; `top` bounds the neighbours.
        unsure: half the width of the band about the threshold in which the verdict is `unsure`.
    """

    mode: ImageMode = "signature"
    model: str = "stroke-directions"

    def __init__(self, settings: ImageSettings, *, unsure: float = _UNSURE) -> None:
        self._threshold = DEFAULT_THRESHOLD if settings.threshold is None else settings.threshold
        self._top = settings.top
        self._unsure = unsure
        self._specimens: dict[str, tuple[str, Description]] = {}
        self._subjects: dict[str, tuple[list[str], Subject]] = {}

    def enrol(self, references: Sequence[tuple[Reference, DecodedImage]]) -> None:
        """Add or replace specimens by id; `subject` (or, left out, `label`) says whose they are."""
        touched = set()
        for reference, image in references:
            subject = reference.subject or reference.label
            if subject is None:
                raise MessageError(f"specimen {reference.id!r} names no subject", reason="unknown_subject")
            ink = clean(cv2.cvtColor(image.pixels, cv2.COLOR_RGB2GRAY))
            if ink is None:
                raise MessageError(f"specimen {reference.id!r} shows no ink", reason="image_undecodable")
            touched.add(subject)
            if reference.id in self._specimens:  # a specimen replaced may have belonged to someone else
                touched.add(self._specimens[reference.id][0])
            self._specimens[reference.id] = (subject, describe(ink))
        self._rebuild(touched)

    def remove(self, ids: Sequence[str]) -> None:
        """Take specimens out; unknown ids are passed over. A subject without specimens is unknown."""
        gone = [self._specimens.pop(one)[0] for one in ids if one in self._specimens]
        self._rebuild(set(gone))

    def match(self, batch: Sequence[tuple[ImageMessage, DecodedImage]]) -> Sequence[Finding | PipelineError]:
        """Verify signatures; same length and order as the input."""
        return [self._judge(message, image) for message, image in batch]

    def _rebuild(self, subjects: set[str]) -> None:
        for subject in subjects:
            own = {key: one for key, (name, one) in self._specimens.items() if name == subject}
            if own:
                self._subjects[subject] = (list(own), Subject(list(own.values())))
            else:
                self._subjects.pop(subject, None)

    def _judge(self, message: ImageMessage, image: DecodedImage) -> Finding | PipelineError:
        if not self._subjects:
            return MessageError("no specimen is enrolled", reason="empty_gallery")
        name = message.subject
        if name is None and len(self._subjects) == 1:
            name = next(iter(self._subjects))
        if name is None or name not in self._subjects:
            return MessageError(f"subject {name!r} has no specimen", reason="unknown_subject")
        ids, subject = self._subjects[name]
        ink = clean(cv2.cvtColor(image.pixels, cv2.COLOR_RGB2GRAY))
        if ink is None:
            return Finding(verdict="forged", score=0.0, threshold=self._threshold)
        comparison = subject.compare(describe(ink))
        score = 1 / (1 + comparison.ratio**4)
        order = comparison.similarities.argsort()[::-1][: self._top]
        neighbors = tuple(
            Neighbor(id=ids[index], similarity=float(comparison.similarities[index]), label=name)
            for index in order
        )
        return Finding(
            verdict=self._verdict(score), score=score, threshold=self._threshold, neighbors=neighbors
        )

    def _verdict(self, score: float) -> Verdict:
        if abs(score - self._threshold) < self._unsure:
            return "unsure"
        return "genuine" if score >= self._threshold else "forged"
