"""Signature mode on drawn signatures."""

import cv2
import numpy as np
import pytest

from config.image import ImageSettings
from schemas import ImageMessage, Reference
from tests.unit.image_classical.boards import decoded
from tests.unit.image_classical.hands import Grey, signature
from workers.errors import MessageError
from workers.image.modes.base import Finding
from workers.image.modes.signature import SignatureMode


def enrolled(specimens: int = 5, subjects: int = 3) -> SignatureMode:
    mode = SignatureMode(ImageSettings(mode="signature", false_accepts=0.05))
    mode.enrol(
        [
            (Reference(id=f"s{subject}-{draw}", subject=f"s{subject}"), decoded(signature(subject, draw)))
            for subject in range(subjects)
            for draw in range(specimens)
        ]
    )
    return mode


def verify(mode: SignatureMode, image: Grey, subject: str | None = "s0") -> Finding:
    (finding,) = mode.match([(ImageMessage(id="q", subject=subject), decoded(image))])
    assert isinstance(finding, Finding)
    return finding


@pytest.mark.parametrize("specimens", [1, 2, 5, 10])
def test_genuine_signatures_score_above_other_hands(specimens: int) -> None:
    """Whatever the number of specimens, the subject's own signatures score higher than anyone else's."""
    mode = enrolled(specimens)
    own = [verify(mode, signature(0, 100 + draw)).score for draw in range(5)]
    others = [verify(mode, signature(other, 100)).score for other in range(1, 6)]
    assert min(own) > max(others)


def test_verdicts_and_the_nearest_specimen() -> None:
    """Genuine ones mostly pass and are never forged; other hands are; neighbours stand best first."""
    mode = enrolled()
    findings = [verify(mode, signature(0, 50 + draw)) for draw in range(8)]
    verdicts = [finding.verdict for finding in findings]
    assert verdicts.count("genuine") >= 6
    assert "forged" not in verdicts
    assert {verify(mode, signature(other, 50)).verdict for other in range(1, 6)} == {"forged"}
    for finding in findings:
        assert [one.label for one in finding.neighbors] == ["s0"] * 5
        similarities = [one.similarity for one in finding.neighbors]
        assert similarities == sorted(similarities, reverse=True)


def test_a_specimen_itself_is_its_own_nearest() -> None:
    """Similarity 1 to itself."""
    finding = verify(enrolled(), signature(0, 3))
    assert finding.neighbors[0].id == "s0-3"
    assert finding.neighbors[0].similarity == pytest.approx(1, abs=1e-3)


def test_fewer_false_accepts_raise_the_threshold() -> None:
    """A rate sets the threshold; a threshold set by hand stands as it is."""
    thresholds = []
    for rate in (0.2, 0.05, 0.001):
        mode = SignatureMode(ImageSettings(mode="signature", false_accepts=rate))
        mode.enrol([(Reference(id="a", subject="s0"), decoded(signature(0, 1)))])
        thresholds.append(verify(mode, signature(0, 2)).threshold or 0)
    assert thresholds == sorted(thresholds)
    by_hand = SignatureMode(ImageSettings(mode="signature", threshold=0.3))
    by_hand.enrol([(Reference(id="a", subject="s0"), decoded(signature(0, 1)))])
    assert verify(by_hand, signature(0, 2)).threshold == 0.3


def test_few_specimens_are_stricter_about_genuine_not_about_forged() -> None:
    """What one specimen can't decide is unsure: the threshold rises, and no more is called forged."""
    few, many = enrolled(1), enrolled(10)
    found = [
        (verify(few, signature(0, 60 + draw)), verify(many, signature(0, 60 + draw))) for draw in range(5)
    ]
    for of_one, of_ten in found:
        assert (of_one.threshold or 0) > (of_ten.threshold or 1)
    assert "forged" not in {of_one.verdict for of_one, _ in found}


def test_the_order_of_enrolment_does_not_count() -> None:
    """Two workers that read the same specimens in another order give the same score."""
    one, other = (
        SignatureMode(ImageSettings(mode="signature")),
        SignatureMode(ImageSettings(mode="signature")),
    )
    specimens = [
        (Reference(id=f"s{subject}-{draw}", subject=f"s{subject}"), decoded(signature(subject, draw)))
        for subject in range(8)
        for draw in range(2)
    ]
    one.enrol(specimens)
    other.enrol(specimens[::-1])
    query = signature(0, 40)
    assert verify(one, query).score == pytest.approx(verify(other, query).score, abs=1e-5)


@pytest.mark.parametrize("pen_px", [2, 5, 8])
def test_the_pen_does_not_count(pen_px: int) -> None:
    """Thin or thick, the verdict stands."""
    assert verify(enrolled(), signature(0, 60, pen_px=pen_px)).verdict == "genuine"


def test_ruled_paper_shadow_and_photographs_in_negative() -> None:
    """A line under the signature, light falling off, white on black: the verdict stands."""
    mode = enrolled()
    ruled = signature(0, 70)
    cv2.line(ruled, (0, 120), (359, 120), 120, 1)
    shaded = (signature(0, 70) * np.linspace(1, 0.5, 360)[None, :]).astype(np.uint8)
    for image in (ruled, shaded, 255 - signature(0, 70)):
        assert verify(mode, image).verdict == "genuine"


def test_a_slight_turn_is_forgiven() -> None:
    """Two degrees are within how people write."""
    assert verify(enrolled(), signature(0, 80, angle_deg=2)).verdict in ("genuine", "unsure")


def test_one_subject_and_one_specimen() -> None:
    """The smallest gallery there is."""
    mode = enrolled(specimens=1, subjects=1)
    assert verify(mode, signature(0, 9), subject=None).score > verify(mode, signature(4, 9)).score


def test_blank_paper_is_no_signature() -> None:
    """No ink: forged, score 0."""
    finding = verify(enrolled(), np.full((80, 200), 250, np.uint8))
    assert (finding.verdict, finding.score) == ("forged", 0.0)


def test_what_cannot_be_verified_is_an_error_in_its_place() -> None:
    """Empty gallery, unknown subject, removed subject, specimen without subject or ink."""
    mode = SignatureMode(ImageSettings(mode="signature"))
    query = (ImageMessage(id="q", subject="s0"), decoded(signature(0, 1)))
    (empty,) = mode.match([query])
    assert isinstance(empty, MessageError)
    assert empty.reason == "empty_gallery"
    mode = enrolled(specimens=2)
    unknown, found = mode.match([(ImageMessage(id="q", subject="nobody"), query[1]), query])
    assert isinstance(unknown, MessageError)
    assert unknown.reason == "unknown_subject"
    assert isinstance(found, Finding)
    mode.remove(["s0-0", "s0-1", "nobody"])
    (gone,) = mode.match([query])
    assert isinstance(gone, MessageError)
    assert gone.reason == "unknown_subject"
    with pytest.raises(MessageError):
        mode.enrol([(Reference(id="x"), query[1])])
    with pytest.raises(MessageError):
        mode.enrol([(Reference(id="x", subject="y"), decoded(np.full((9, 9), 255, np.uint8)))])


def test_a_replaced_specimen_counts_no_more() -> None:
    """Enrolled again under another subject, it leaves the first."""
    mode = enrolled(specimens=1)
    mode.enrol([(Reference(id="s0-0", subject="s1"), decoded(signature(1, 7)))])
    (gone,) = mode.match([(ImageMessage(id="q", subject="s0"), decoded(signature(0, 1)))])
    assert isinstance(gone, MessageError)
    assert len(verify(mode, signature(1, 8), "s1").neighbors) == 2


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (6, 6)])
def test_tiny_images_are_answered(size: tuple[int, int]) -> None:
    """No crash on a pixel, a row, a dot."""
    dot = np.full(size, 255, np.uint8)
    dot[0, 0] = 0
    verify(enrolled(specimens=1), dot)
