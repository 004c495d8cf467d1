"""What the two modes make of distances: verdicts, thresholds, snapshots and a window over the stream."""

import numpy as np
import pytest
from PIL import Image

from config import ImageSettings
from schemas import ImageMessage, Reference
from tests.unit.image.fakes import ColourBackbone
from workers.errors import MessageError
from workers.image.embedding import Embedder, padded, pool
from workers.image.modes.base import DecodedImage, Finding
from workers.image.modes.similarity import DEFAULT_THRESHOLD, SimilarityMode
from workers.image.modes.uniqueness import JUDGED_FROM, UniquenessMode


def solid(red, green, blue):
    pixels = np.asarray(Image.new("RGB", (40, 30), (red, green, blue)))
    return DecodedImage(pixels, 40, 30)


def shade(seed):
    """A red of some kind."""
    noise = np.random.default_rng(seed)
    return solid(int(noise.integers(180, 250)), int(noise.integers(20, 60)), int(noise.integers(20, 60)))


BLUE = solid(10, 10, 250)


def similarity(fingerprint="f00", **settings):
    given = ImageSettings.model_validate({"mode": "similarity", **settings})
    return SimilarityMode(given, ColourBackbone(fingerprint))


def uniqueness(**settings):
    given = ImageSettings.model_validate({"mode": "uniqueness", **settings})
    return UniquenessMode(given, ColourBackbone())


def reference(name, **facts):
    return Reference(id=name, content=b"x", **facts)


def message(name, **facts):
    return ImageMessage(id=name, content=b"x", **facts)


def reds(count):
    return [(reference(f"red{i}", label="red"), shade(i)) for i in range(count)]


def judged(mode, *pairs):
    findings = mode.match(pairs)
    assert all(isinstance(finding, Finding) for finding in findings)
    return findings


def test_neighbours_carry_the_label_and_metadata_of_their_reference():
    mode = similarity()
    mode.enrol([(reference("a", label="red", metadata={"price": 7}), shade(0))])
    [finding] = judged(mode, (message("q"), shade(0)))
    assert (finding.neighbors[0].label, finding.neighbors[0].metadata) == ("red", {"price": 7})
    assert finding.neighbors[0].similarity == pytest.approx(1.0, abs=1e-5)
    assert finding.verdict == "match"


def test_a_message_may_ask_for_some_members_only():
    mode = similarity()
    mode.enrol([*reds(5), (reference("blue", label="blue"), BLUE)])
    asked = message("q", metadata={"filter.label": "blue"})
    [finding] = judged(mode, (asked, shade(1)))
    assert [neighbor.id for neighbor in finding.neighbors] == ["blue"]
    [nothing] = mode.match([(message("q", metadata={"filter.label": "green"}), shade(1))])
    assert isinstance(nothing, MessageError)
    assert nothing.reason == "empty_gallery"


def test_the_threshold_is_the_settings_or_the_gallerys_or_the_default():
    large = [*reds(20), *((reference(f"b{i}", label="blue"), solid(10, 10, 200 + i)) for i in range(20))]
    for mode, members in ((similarity(threshold=0.3), large), (similarity(), large), (similarity(), reds(3))):
        mode.enrol(members)
        [finding] = judged(mode, (message("q"), shade(1)))
        if len(members) == 3:
            assert finding.threshold == DEFAULT_THRESHOLD
        elif mode._fixed is not None:
            assert finding.threshold == 0.3
        else:
            assert finding.threshold not in (0.3, DEFAULT_THRESHOLD)


def test_the_odd_one_of_a_collection_scores_highest():
    mode = uniqueness()
    members = [*reds(30), (reference("odd"), BLUE)]
    mode.enrol(members)
    findings = judged(mode, *((message(r.id), image) for r, image in members))
    assert max(range(31), key=lambda i: findings[i].score) == 30
    assert findings[30].verdict == "no_match"
    assert all(r.id not in {n.id for n in f.neighbors} for (r, _), f in zip(members, findings, strict=True))


def test_a_window_tells_what_is_new_to_a_stream():
    mode = uniqueness(window=50)
    stream = [(message(f"m{i}"), shade(i)) for i in range(40)]
    findings = judged(mode, *stream)
    assert findings[0].score == 1.0
    assert all(finding.verdict == "match" for finding in findings[:JUDGED_FROM])
    [first] = judged(mode, (message("blue1"), BLUE))
    again = [judged(mode, (message(f"blue{i}"), BLUE))[0] for i in range(2, 9)]
    assert first.verdict == "no_match"
    assert again[-1].verdict == "match"
    assert again[-1].score < 0.01


def test_a_window_forgets_and_stays_bounded():
    mode = uniqueness(window=8)
    judged(mode, *((message(f"b{i}"), BLUE) for i in range(8)))
    judged(mode, *((message(f"m{i}"), shade(i)) for i in range(8)))
    [finding] = judged(mode, (message("late"), BLUE))
    assert finding.score > 0.3
    assert not any(neighbor.id.startswith("b") for neighbor in finding.neighbors)
    assert mode._passing is not None
    assert len(mode._passing) == 8


def test_a_window_takes_an_image_seen_again_for_one():
    mode = uniqueness(window=8)
    judged(mode, *((message("same"), BLUE) for _ in range(20)))
    assert mode._passing is not None
    assert len(mode._passing) == 1


def test_a_windows_results_do_not_depend_on_the_batch():
    stream = [(message(f"m{i}"), shade(i)) for i in range(30)]
    alone = uniqueness(window=10)
    assert judged(uniqueness(window=10), *stream) == [judged(alone, one)[0] for one in stream]


def test_a_window_counts_the_references_too():
    mode = uniqueness(window=5)
    mode.enrol(reds(5))
    [finding] = judged(mode, (message("q"), shade(0)))
    assert finding.neighbors[0].id == "red0"


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (400, 1), (31, 17), (64, 64)])
def test_padding_keeps_the_whole_image_and_its_aspect(size):
    pixels = np.asarray(Image.new("RGB", size, (200, 100, 50)))
    square = padded(pixels, 32)
    assert square.shape == (32, 32, 3)
    assert square.dtype == np.uint8
    assert (square == (200, 100, 50)).all()


def test_pooling_gives_mean_power_mean_and_spread():
    layer = np.array([[[0.0, 2.0], [0.0, 2.0]]], np.float32)
    assert pool(layer, "mean") == pytest.approx([1.0])
    assert pool(layer, "spread") == pytest.approx([1.0])
    assert pool(layer, "power") == pytest.approx([4 ** (1 / 3)])
    assert Embedder(ColourBackbone()).embed([]).shape[0] == 0
