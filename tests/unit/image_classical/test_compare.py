"""Compare mode on drawn boards."""

import cv2
import numpy as np
import pytest

from config.image import ImageSettings
from schemas import ImageMessage, Reference
from tests.unit.image_classical.boards import Grey, board, decoded, moved
from workers.errors import MessageError
from workers.image.modes.base import DecodedImage, Finding
from workers.image.modes.compare import CompareMode


def compare(reference: Grey, test: Grey, **options: int) -> Finding:
    mode = CompareMode(ImageSettings(mode="compare"), **options)
    mode.enrol([(Reference(id="r"), decoded(reference))])
    (finding,) = mode.match([(ImageMessage(id="t", reference="r"), decoded(test))])
    assert isinstance(finding, Finding)
    return finding


def flawed(image: Grey, at: tuple[int, int] = (200, 150)) -> Grey:
    """A dark square of 14 pixels on a white patch, absent from the reference made by `patched`."""
    test = image.copy()
    cv2.rectangle(test, (at[0] - 7, at[1] - 7), (at[0] + 6, at[1] + 6), 0, -1)
    return test


def patched(seed: int = 0, at: tuple[int, int] = (200, 150)) -> Grey:
    """A board with a white patch where a flaw will show."""
    image = board(seed)
    cv2.rectangle(image, (at[0] - 30, at[1] - 30), (at[0] + 30, at[1] + 30), 255, -1)
    return image


def test_identical_images_are_ok() -> None:
    """Nothing differs: score 0, no regions."""
    finding = compare(board(), board())
    assert (finding.verdict, finding.score, finding.regions) == ("ok", 0.0, ())
    assert finding.compared_with == "r"


def test_a_flaw_is_boxed_where_it_is() -> None:
    """An added square is one region, its box the square's."""
    finding = compare(patched(), flawed(patched()), margin_px=0)
    assert finding.verdict == "defect"
    (region,) = finding.regions
    assert np.allclose(region.box, (193, 143, 207, 157), atol=3)
    assert finding.score == region.score > 0.5


@pytest.mark.parametrize(
    ("angle", "scale", "shift"),
    [
        (0, 1, (3, -2)),
        (3, 1, (0, 0)),
        (-3, 1, (2, 3)),
        (0, 1.02, (0, 0)),
        (2, 0.98, (-3, 1)),
        (0.7, 1.01, (1.5, 0.5)),
    ],
)
def test_moved_boards_are_ok_and_their_flaws_found(
    angle: float, scale: float, shift: tuple[float, float]
) -> None:
    """Shift, rotation and scale are no defects; a flaw is boxed in the test image's own pixels."""
    clean = compare(patched(1), moved(patched(1), angle, scale, shift))
    assert clean.verdict == "ok"
    finding = compare(patched(1), moved(flawed(patched(1)), angle, scale, shift), margin_px=0)
    (region,) = finding.regions
    turn = cv2.getRotationMatrix2D((239.5, 199.5), angle, scale)
    centre = turn @ (199.5, 149.5, 1) + shift
    x1, y1, x2, y2 = region.box
    assert np.allclose(((x1 + x2 - 1) / 2, (y1 + y2 - 1) / 2), centre, atol=2)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: np.clip(image * 0.6 + 30, 0, 255).astype(np.uint8),
        lambda image: np.clip(image * 0.8, 0, 255).astype(np.uint8),
        lambda image: cv2.GaussianBlur(image, (0, 0), 1.2),
        lambda image: (image * np.linspace(1.0, 0.7, image.shape[1])[None, :]).astype(np.uint8),
        lambda image: np.clip(image + np.random.default_rng(0).normal(0, 6, image.shape), 0, 255).astype(
            np.uint8
        ),
        lambda image: cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], 0),
    ],
    ids=["dim", "darker", "blur", "falloff", "noise", "jpeg"],
)
def test_light_blur_and_noise_are_no_defects(change) -> None:  # type: ignore[no-untyped-def]
    """The light and the lens may change; the flaw still shows."""
    assert compare(patched(2), change(patched(2))).verdict == "ok"
    assert compare(patched(2), change(flawed(patched(2)))).verdict == "defect"


def test_edges_may_wander_by_two_pixels() -> None:
    """Copper a pixel thinner everywhere is within tolerance."""
    assert compare(board(3), cv2.dilate(board(3), np.ones((3, 3), np.uint8))).verdict == "ok"


def test_another_size_than_the_reference() -> None:
    """The same board photographed at another resolution; boxes are in the photograph's pixels."""
    large = cv2.resize(flawed(patched()), None, fx=1.5, fy=1.5, interpolation=cv2.INTER_CUBIC)
    assert compare(patched(), cv2.resize(patched(), None, fx=1.5, fy=1.5)).verdict == "ok"
    (region,) = compare(patched(), large, margin_px=0).regions
    assert np.allclose(region.box, (290, 215, 310, 235), atol=5)


def test_boxes_are_in_original_pixels_where_the_image_was_decoded_smaller() -> None:
    """Draft mode hands over half the pixels; the box is in the original's."""
    mode = CompareMode(ImageSettings(mode="compare"), margin_px=0)
    mode.enrol([(Reference(id="r"), decoded(patched()))])
    small = cv2.cvtColor(flawed(patched()), cv2.COLOR_GRAY2RGB)
    (finding,) = mode.match([(ImageMessage(id="t"), DecodedImage(small, width=960, height=800))])
    assert isinstance(finding, Finding)
    assert np.allclose(finding.regions[0].box, (386, 286, 414, 314), atol=6)


def test_large_images_are_compared_reduced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the limit of pixels both pictures are reduced; boxes are still the original's."""
    monkeypatch.setattr("workers.image.modes.compare.MAX_PIXELS", 100_000)
    (region,) = compare(patched(), flawed(patched()), margin_px=0).regions
    assert np.allclose(region.box, (193, 143, 207, 157), atol=4)


def test_margin_widens_the_box_and_stays_inside() -> None:
    """`margin_px` is added on each side."""
    (narrow,) = compare(patched(), flawed(patched()), margin_px=0).regions
    (wide,) = compare(patched(), flawed(patched()), margin_px=10).regions
    assert wide.box == tuple(np.add(narrow.box, (-10, -10, 10, 10)))


def with_zones(test: Grey, reference: Grey | None = None, **metadata: str) -> Finding:
    mode = CompareMode(ImageSettings(mode="compare"))
    shown = patched() if reference is None else reference
    mode.enrol([(Reference(id="r", metadata=dict(metadata)), decoded(shown))])
    (finding,) = mode.match([(ImageMessage(id="t"), decoded(test))])
    assert isinstance(finding, Finding)
    return finding


def test_an_ignored_zone_is_not_looked_at() -> None:
    """What lies in an ignored box is no defect; elsewhere it is."""
    assert with_zones(flawed(patched()), ignore="185,135,215,165").verdict == "ok"
    assert with_zones(flawed(patched()), ignore="0,0,20,20; 30,30,50,50").verdict == "defect"


def test_a_zone_may_have_a_tolerance_of_its_own() -> None:
    """A bar is 6 pixels wider than in the reference: a defect, unless its edge there may wander as far."""
    reference, wider = patched(), patched()
    reference[125:175, 190:206] = 0
    wider[125:175, 190:212] = 0
    assert with_zones(wider, reference).verdict == "defect"
    assert with_zones(wider, reference, tolerance="180,120,225,180=8").verdict == "ok"
    assert with_zones(wider, reference, tolerance="0,0,60,60=8").verdict == "defect"


@pytest.mark.parametrize("zone", ["1,2,3", "a,b,c,d", "9,9,1,1", "nonsense"])
@pytest.mark.parametrize("key", ["ignore", "tolerance", "defects"])
def test_an_unreadable_zone_is_refused(key: str, zone: str) -> None:
    """A misspelt zone is noticed when the reference is enrolled."""
    with pytest.raises(MessageError):
        with_zones(patched(), **{key: zone})


def test_what_cannot_be_compared_is_an_error_in_its_place() -> None:
    """Empty gallery, unknown and removed references."""
    mode = CompareMode(ImageSettings(mode="compare"))
    image = decoded(board())
    message = ImageMessage(id="t", reference="nobody")
    (empty,) = mode.match([(message, image)])
    assert isinstance(empty, MessageError)
    assert empty.reason == "empty_gallery"
    mode.enrol([(Reference(id="a"), image), (Reference(id="b"), image)])
    unknown, found = mode.match([(message, image), (ImageMessage(id="u", reference="a"), image)])
    assert isinstance(unknown, MessageError)
    assert unknown.reason == "unknown_reference"
    assert isinstance(found, Finding)
    mode.remove(["a", "nobody"])
    (gone,) = mode.match([(ImageMessage(id="u", reference="a"), image)])
    assert isinstance(gone, MessageError)


def test_a_blank_image_of_a_blank_sheet_is_sound() -> None:
    """There is nothing to align on, and nothing that differs."""
    assert compare(np.full((40, 40), 200, np.uint8), np.full((40, 40), 200, np.uint8)).verdict == "ok"


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (3, 5)])
def test_a_tiny_image_does_not_pass(size: tuple[int, int]) -> None:
    """One pixel or one row can't show the part."""
    reference = np.full((300, 400), 255, np.uint8)
    reference[100:200, 50:350] = 0
    assert compare(reference, np.full(size, 200, np.uint8)).verdict == "defect"


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 15)])
def test_a_tiny_reference_is_refused(size: tuple[int, int]) -> None:
    """It shows nothing to compare with, so anything would pass as sound."""
    mode = CompareMode(ImageSettings(mode="compare"))
    with pytest.raises(MessageError, match="under 16 pixels"):
        mode.enrol([(Reference(id="a"), decoded(np.full(size, 200, np.uint8)))])


def test_kinds_are_learnt_from_labelled_boxes() -> None:
    """Photographs with named boxes teach the kinds; without them, or with them removed, there is no kind."""
    reference = np.full((300, 400), 255, np.uint8)
    for row in range(40, 280, 40):
        reference[row : row + 12, 10:390] = 0
    teach, check = reference.copy(), reference.copy()
    boxes = []
    for index, column in enumerate((60, 120, 180, 240)):
        row = 40 + 40 * index
        teach[row : row + 12, column : column + 10 + index] = 255  # the track is broken
        boxes.append(f"{column - 10},{row - 10},{column + 22},{row + 22}=open")
        teach[row + 12 : row + 40, column + 50 : column + 58 + index] = 0  # two tracks are joined
        boxes.append(f"{column + 40},{row + 4},{column + 70},{row + 48}=short")
    check[80:92, 300:312] = 255
    check[132:160, 100:110] = 0
    mode = CompareMode(ImageSettings(mode="compare"))
    example = Reference(id="e", metadata={"of": "r", "defects": "; ".join(boxes)})
    mode.enrol([(Reference(id="r"), decoded(reference)), (example, decoded(teach))])

    def kinds() -> list[str | None]:
        (finding,) = mode.match([(ImageMessage(id="t", reference="r"), decoded(check))])
        assert isinstance(finding, Finding)
        return [region.kind for region in sorted(finding.regions, key=lambda region: region.box[1])]

    assert kinds() == ["open", "short"]
    mode.remove(["e"])
    assert kinds() == [None, None]
