"""Galleries under change: what is in force while others learn, and that matching waits for nobody."""

import threading
from collections.abc import Sequence

import pytest
from PIL import Image

from config import ImageSettings
from schemas import ImageMessage, ImageResult, Reference
from tests.unit.image.drawn import encoded
from tests.unit.image.fakes import BrightnessMode
from workers.base import Change, Controllable
from workers.image import galleries
from workers.image.live_gallery import Entry, LiveGallery
from workers.image.membership import Checksum, member_digest
from workers.image.modes.base import DecodedImage, Pending
from workers.image.worker import ImageWorker


def grey(value: int) -> bytes:
    return encoded(Image.new("L", (8, 8), value))


class SlowMode(BrightnessMode):
    """Learns only when the test lets it, as modes do that need seconds."""

    def __init__(self, settings: ImageSettings) -> None:
        super().__init__(settings)
        self.learning = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.learnt: frozenset[str] = frozenset()
        self.fails = False

    @property
    def pending(self) -> Pending:
        return "enrolment" if set(self.members) - self.learnt else "nothing"

    def fit(self) -> None:
        self.learning.set()
        assert self.may_go_on.wait(10)
        if self.fails:
            raise RuntimeError("can't learn")
        self.learnt = frozenset(self.members)


@pytest.fixture
def mode() -> SlowMode:
    return SlowMode(ImageSettings())


def entry(name: str, brightness: float = 1.0) -> Entry:
    return Entry(Reference(id=name), brightness, member_digest(Reference(id=name, sha256="a" * 64)))


class Gallery(LiveGallery):
    """Entries hold a brightness in place of an image."""


@pytest.fixture
def gallery(mode: SlowMode, monkeypatch: pytest.MonkeyPatch) -> LiveGallery:
    def adopt(self: SlowMode, references: Sequence[tuple[Reference, object]]) -> None:
        self.members.update({r.id: float(described) for r, described in references})  # type: ignore[arg-type]

    monkeypatch.setattr(SlowMode, "adopt", adopt)
    made = LiveGallery("g", mode, "settings")
    made.enrol([entry("first")])
    made.open()
    return made


def members(gallery: LiveGallery) -> set[str]:
    found = gallery.current.mode
    assert isinstance(found, BrightnessMode)
    assert set(gallery.current.digests) == set(found.members)
    return set(found.members)


def test_a_generation_never_changes(gallery: LiveGallery):
    held = gallery.current
    gallery.enrol([entry("second")])
    gallery.remove(["first"])
    assert set(held.digests) == set(held.mode.members) == {"first"}  # type: ignore[attr-defined]
    assert members(gallery) == {"second"}


def test_what_is_learnt_is_in_force_only_when_it_is_done(gallery: LiveGallery, mode: SlowMode):
    mode.may_go_on.clear()
    mode.learning.clear()
    enrolling = threading.Thread(target=gallery.enrol, args=([entry("second")],))
    enrolling.start()
    assert mode.learning.wait(10)
    assert members(gallery) == {"first"}
    mode.may_go_on.set()
    enrolling.join(10)
    assert members(gallery) == {"first", "second"}


def test_a_removal_does_not_wait_for_what_is_being_learnt(gallery: LiveGallery, mode: SlowMode):
    mode.may_go_on.clear()
    mode.learning.clear()
    enrolling = threading.Thread(target=gallery.enrol, args=([entry("second"), entry("third")],))
    enrolling.start()
    assert mode.learning.wait(10)
    gallery.remove(["first", "second"])
    assert members(gallery) == set()
    mode.may_go_on.set()
    enrolling.join(10)
    assert members(gallery) == {"third"}


def test_what_was_removed_before_it_was_ready_is_not_taken(gallery: LiveGallery):
    gallery.enrol([entry("second"), entry("third")], cancelled={"second"})
    assert members(gallery) == {"first", "third"}


def test_what_can_not_be_learnt_leaves_the_former_in_force(gallery: LiveGallery, mode: SlowMode):
    version = gallery.current.version
    mode.fails = True
    with pytest.raises(RuntimeError):
        gallery.enrol([entry("second")])
    assert (members(gallery), gallery.current.version) == ({"first"}, version)


def test_a_checksum_forgets_the_order_and_what_has_gone():
    digests = [member_digest(Reference(id=f"r{i}", sha256="a" * 64)) for i in range(4)]
    forward, backward = Checksum(), Checksum()
    for digest in digests:
        forward = forward.plus(digest)
    for digest in reversed(digests):
        backward = backward.plus(digest)
    assert forward == backward
    assert str(forward) != str(forward.minus(digests[0]))
    assert forward.minus(digests[0]).plus(digests[0]) == forward


@pytest.mark.parametrize(
    "facts", [{"subject": "x"}, {"label": "x"}, {"metadata": {"a": 1}}, {"sha256": "b" * 64}]
)
def test_all_that_makes_a_member_is_in_its_digest(facts: dict[str, object]):
    plain = Reference(id="r", sha256="a" * 64)
    assert member_digest(plain) != member_digest(plain.model_copy(update=facts))
    moved = plain.model_copy(update={"dataref": "/elsewhere", "content_type": "image/png"})
    assert member_digest(plain) == member_digest(moved)


# the worker


def started(**settings: object) -> ImageWorker:
    worker = ImageWorker(ImageSettings.model_validate(settings), BrightnessMode)
    worker.load()
    return worker


def change(key: str, value: bytes | None, at_ms: int = 7, **headers: str) -> Change:
    return Change(key, value, tuple((k, v.encode()) for k, v in headers.items()), at_ms)


def judged(worker: ImageWorker, brightness: int, gallery: str | None = None) -> object:
    [outcome] = worker.run(worker.prepare([ImageMessage(id="i", content=grey(brightness), gallery=gallery)]))
    return outcome


def test_the_worker_keeps_the_contract_of_the_control_topic():
    assert isinstance(started(), Controllable)


def test_a_worker_without_references_waits_for_the_topic(tmp_path):
    worker = started()
    assert not worker.ready
    worker.apply_changes([change("default/a", grey(100))])
    assert worker.ready
    worker.apply_changes([change("default/a", None)])
    assert not worker.ready
    (tmp_path / "a.png").write_bytes(grey(1))
    assert started(references=tmp_path).ready


def test_changes_are_answered_with_what_is_in_force():
    worker = started()
    [applied] = worker.apply_changes([change("default/a", grey(100), 3), change("default/b", grey(9), 5)])
    facts = dict(applied.facts)
    assert (applied.name, applied.refused, applied.removed, applied.published_ms) == (
        "default",
        None,
        False,
        5,
    )
    assert applied.version == worker.in_force["default"] == worker.version
    assert str(applied.version).startswith(str(facts["checksum"]))
    assert facts["members"] == 2


def test_a_late_worker_has_and_says_the_same():
    early, late = started(), started()
    early.apply_changes([change("default/a", grey(100)), change("default/gone", grey(1))])
    early.apply_changes([change("default/b", grey(50), label="x"), change("default/a", grey(90))])
    early.apply_changes([change("default/gone", None)])
    late.apply_changes([change("default/b", grey(50), label="x"), change("default/a", grey(90))])
    assert early.in_force == late.in_force


def test_a_wrong_reference_is_refused_with_its_reason_and_its_neighbours_are_taken():
    worker = started()
    found = worker.apply_changes(
        [change("default/a", grey(100)), change("default/b", b"no image", 9), change("nokey", grey(1))]
    )
    refused = {dict(one.facts)["id"]: one for one in found if one.refused}
    assert dict(refused["b"].facts)["reason"] == "image_format"
    assert refused["b"].published_ms == 9
    assert len(refused) == 2
    assert worker.knows("a")
    assert [dict(one.facts)["refused"] for one in found if one.version] == [1]


def test_a_wrong_replacement_leaves_the_former():
    worker = started()
    worker.apply_changes([change("default/a", grey(100))])
    version = worker.version
    worker.apply_changes([change("default/a", b"broken")])
    assert worker.version == version


def test_a_claim_check_is_redeemed_and_removed_by_its_message(tmp_path):
    (tmp_path / "a.png").write_bytes(grey(100))
    worker = started(allowed_folders=[tmp_path])
    claim = Reference(id="a", dataref=str(tmp_path / "a.png")).to_json()
    worker.apply_changes([change("default/a", claim)])
    inline = started()
    inline.apply_changes([change("default/a", grey(100))])
    assert worker.in_force == inline.in_force
    worker.apply_changes([change("default/a", Reference(id="a", removed=True).to_json())])
    assert not worker.in_force


def test_the_newest_of_several_changes_counts():
    worker = started()
    worker.apply_changes([change("default/a", grey(1)), change("default/a", None), change("x/b", None)])
    assert not worker.in_force
    worker.apply_changes([change("default/a", None), change("default/a", grey(200))])
    assert isinstance(judged(worker, 200), ImageResult)


def test_what_is_read_at_start_is_taken_in_parts_and_answered_as_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(galleries, "TOGETHER", 3)
    changes = [change(f"default/{i}", grey(20 * i), i) for i in range(10)]
    changes += [change("default/4", b"broken", 90), change("default/5", None), change("dark/d", b"broken")]
    whole, parts = started(), started()
    whole.apply_changes([change("default/9", grey(180))])  # open, so that the rest is taken at once
    expected = whole.apply_changes(changes)
    found = parts.apply_changes(changes)
    assert parts.in_force == whole.in_force
    assert sorted(map(repr, found)) == sorted(map(repr, expected))


def test_an_image_is_judged_against_the_gallery_that_it_names():
    worker = started()
    worker.apply_changes([change("dark/d", grey(10)), change("bright/b", grey(240))])
    for gallery, brightness, verdict in (("dark", 10, "match"), ("bright", 10, "no_match")):
        outcome = judged(worker, brightness, gallery)
        assert isinstance(outcome, ImageResult)
        assert (outcome.gallery, outcome.verdict, outcome.version) == (
            gallery,
            verdict,
            worker.in_force[gallery],
        )


def test_a_batch_may_name_several_galleries_and_keeps_its_order():
    worker = started()
    worker.apply_changes([change("dark/d", grey(10)), change("bright/b", grey(240))])
    named = ["dark", "bright", "nowhere", "dark"]
    batch = [ImageMessage(id=str(i), content=grey(10), gallery=name) for i, name in enumerate(named)]
    found = worker.run(worker.prepare(batch))
    assert [getattr(outcome, "gallery", None) for outcome in found] == ["dark", "bright", None, "dark"]
    assert getattr(found[2], "reason", None) == "unknown_gallery"


def test_an_image_without_a_gallery_means_the_only_one_there_is():
    worker = started()
    worker.apply_changes([change("dark/d", grey(10))])
    found = judged(worker, 10)
    assert isinstance(found, ImageResult)
    assert found.gallery == "dark"
    worker.apply_changes([change("bright/b", grey(240))])
    assert getattr(judged(worker, 10), "reason", None) == "unknown_gallery"
    worker.apply_changes([change("default/x", grey(99))])
    found = judged(worker, 10)
    assert isinstance(found, ImageResult)
    assert found.gallery == "default"


def test_a_gallery_without_members_is_gone():
    worker = started()
    worker.apply_changes([change("dark/d", grey(10)), change("default/x", grey(99))])
    [applied] = worker.apply_changes([change("dark/d", None)])
    assert applied.removed
    assert list(worker.in_force) == ["default"]
    assert getattr(judged(worker, 10, "dark"), "reason", None) == "unknown_gallery"


class BreaksOnBright(BrightnessMode):
    def describe(self, references: Sequence[tuple[Reference, DecodedImage]]) -> Sequence[object]:
        if any(image.pixels.mean() > 250 for _, image in references):
            raise RuntimeError("too bright")
        return super().describe(references)


def test_a_reference_that_breaks_the_model_is_refused_alone():
    worker = ImageWorker(ImageSettings(), BreaksOnBright)
    worker.load()
    found = worker.apply_changes([change(f"default/r{i}", grey(246 + i)) for i in range(10)])
    refused = [dict(one.facts)["id"] for one in found if one.refused]
    assert refused == [f"r{i}" for i in range(5, 10)]
    assert worker.in_force
