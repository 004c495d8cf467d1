"""Signature: a signature verified against the specimens of the subject it claims to be."""

from collections.abc import Sequence
from typing import Final, Self, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from config.image import ImageSettings
from schemas import ImageMessage, ImageMode, Neighbor, Reference, Verdict
from workers.errors import MessageError, PipelineError
from workers.image.modes.base import Changeable, DecodedImage, Finding
from workers.image.signature.clean import clean
from workers.image.signature.describe import describe
from workers.image.signature.verify import Subject, excess_at, excess_of, score_of

UNSURE: Final = 0.07
"""How far past the threshold of many specimens a signature is `unsure`: about a standard deviation of genuine
ones. With few specimens the threshold is stricter, and so more is `unsure`, not `forged`."""
MANY: Final = 10
_MAX_OTHERS: Final = 20
"""Other subjects whose signatures enter the normalisation."""
_OTHERS_UP_TO: Final = 3
"""With more specimens than this the subject's own spread says all."""

Floats = NDArray[np.float32]


class SignatureMode(Changeable):
    """Verifies signatures against 1 to 10 specimens of the subject named by the message.

    The score is the probability that the signature is genuine, at even odds of genuine and imitated.
    The verdict is `genuine` from the threshold on, `unsure` a little below it, else `forged`.

    Args:
        settings: `threshold` is the score from which a signature is genuine; left out, it follows from
            `false_accepts`, the share of imitations that may pass. `top` bounds the neighbours.
        unsure: how much further from the specimens than the threshold a signature may lie and be
            `unsure`, in the log of the distance.
    """

    mode: ImageMode = "signature"
    model: str = "stroke-directions"

    def __init__(self, settings: ImageSettings, *, unsure: float = UNSURE) -> None:
        self._set_by_hand = settings.threshold
        self._false_accepts = settings.false_accepts
        self._forged_below = score_of(excess_of(self._threshold(MANY)) + unsure)
        self._top = settings.top
        self._specimens: dict[str, tuple[str, Floats]] = {}
        self._by_subject: dict[str, list[str]] = {}
        self._subjects: dict[str, Subject] = {}

    def fork(self) -> Self:
        """A mode with the same specimens."""
        made = super().fork()
        made._specimens, made._subjects = dict(self._specimens), {}
        made._by_subject = {subject: list(ids) for subject, ids in self._by_subject.items()}
        return made

    def describe(self, references: Sequence[tuple[Reference, DecodedImage]]) -> Sequence[object]:
        """Whose each specimen is, and its strokes."""
        return [_described(reference, image) for reference, image in references]

    def adopt(self, references: Sequence[tuple[Reference, object]]) -> None:
        """Add or replace specimens by id."""
        for reference, described in references:
            subject, description = cast("tuple[str, Floats]", described)
            self._forget(reference.id)
            self._specimens[reference.id] = (subject, description)
            self._by_subject.setdefault(subject, []).append(reference.id)
        self._subjects.clear()

    def enrol(self, references: Sequence[tuple[Reference, DecodedImage]]) -> None:
        """Add or replace specimens by id; `subject` (or, left out, `label`) says whose they are."""
        made = self.describe(references)
        self.adopt([(reference, one) for (reference, _), one in zip(references, made, strict=True)])

    def remove(self, ids: Sequence[str]) -> None:
        """Take specimens out; unknown ids are passed over. A subject without specimens is unknown."""
        for specimen_id in ids:
            self._forget(specimen_id)
        self._subjects.clear()

    def match(self, batch: Sequence[tuple[ImageMessage, DecodedImage]]) -> Sequence[Finding | PipelineError]:
        """Verify signatures; same length and order as the input."""
        return [self._judge(message, image) for message, image in batch]

    def _forget(self, specimen_id: str) -> None:
        if specimen_id not in self._specimens:
            return
        subject, _ = self._specimens.pop(specimen_id)
        self._by_subject[subject].remove(specimen_id)
        if not self._by_subject[subject]:
            del self._by_subject[subject]

    def _subject(self, name: str) -> Subject:
        """The subject, built when first asked for after the gallery has changed."""
        if name not in self._subjects:
            own = [self._specimens[one][1] for one in self._by_subject[name]]
            others = self._others(name) if len(own) <= _OTHERS_UP_TO else []
            self._subjects[name] = Subject(own, others)
        return self._subjects[name]

    def _others(self, name: str) -> list[Floats]:
        """A specimen each of other subjects, the same ones in whatever order they were enrolled."""
        names = sorted(one for one in self._by_subject if one != name)
        step = max(1, -(-len(names) // _MAX_OTHERS))
        return [self._specimens[min(self._by_subject[one])][1] for one in names[::step]]

    def _threshold(self, specimens: int) -> float:
        """The score from which a signature is genuine."""
        if self._set_by_hand is not None:
            return self._set_by_hand
        return score_of(excess_at(self._false_accepts, specimens))

    def _judge(self, message: ImageMessage, image: DecodedImage) -> Finding | PipelineError:
        if not self._by_subject:
            return MessageError("no specimen is enrolled", reason="empty_gallery")
        name = message.subject
        if name is None and len(self._by_subject) == 1:
            name = next(iter(self._by_subject))
        if name is None or name not in self._by_subject:
            return MessageError(f"subject {name!r} has no specimen", reason="unknown_subject")
        threshold = self._threshold(len(self._by_subject[name]))
        ink = clean(cv2.cvtColor(image.pixels, cv2.COLOR_RGB2GRAY))
        if ink is None:
            return Finding(verdict="forged", score=0.0, threshold=threshold, probability=0.0)
        comparison = self._subject(name).compare(describe(ink))
        score = score_of(comparison.excess)
        similarities = np.clip(1 - comparison.distances**2 / 2, 0, 1)
        ids = self._by_subject[name]
        order = np.argsort(-similarities, kind="stable")[: self._top]
        neighbors = tuple(
            Neighbor(id=ids[index], similarity=float(similarities[index]), label=name) for index in order
        )
        return Finding(
            verdict=self._verdict(score, threshold),
            score=score,
            threshold=threshold,
            probability=score,
            neighbors=neighbors,
        )

    def _verdict(self, score: float, threshold: float) -> Verdict:
        if score >= threshold:
            return "genuine"
        return "unsure" if score >= self._forged_below else "forged"


def _described(reference: Reference, image: DecodedImage) -> tuple[str, Floats]:
    """Whose specimen it is, and its description."""
    subject = reference.subject or reference.label
    if subject is None:
        raise MessageError(f"specimen {reference.id!r} names no subject", reason="unknown_subject")
    ink = clean(cv2.cvtColor(image.pixels, cv2.COLOR_RGB2GRAY))
    if ink is None:
        raise MessageError(f"specimen {reference.id!r} shows no ink", reason="image_undecodable")
    return subject, describe(ink)
