"""Snapshots: a restart embeds nothing again, and is never worse off for one that can't be used."""

import errno
import logging

import numpy as np
import pytest
from PIL import Image

from config import ImageSettings
from schemas import ImageMessage, ImageResult
from tests.unit.image.drawn import encoded
from tests.unit.image.fakes import ColourBackbone
from workers.base import Change
from workers.errors import FatalError
from workers.image import context, gallery, shelf, stock
from workers.image.models import indexes
from workers.image.modes import vectors
from workers.image.modes.similarity import SimilarityMode
from workers.image.modes.uniqueness import UniquenessMode
from workers.image.worker import ImageWorker

MODES = {"similarity": SimilarityMode, "uniqueness": UniquenessMode}


def shade(seed: int) -> bytes:
    colour = tuple(np.random.default_rng(seed).integers(0, 256, 3).tolist())
    return encoded(Image.new("RGB", (8, 8), colour))


CHANGES = [Change(f"default/r{i:03}", shade(i), (("label", f"l{i % 3}".encode()),)) for i in range(60)]
ASKED = [ImageMessage(id=f"q{i}", content=shade(1_000 + i)) for i in range(5)]


class Run:
    """A worker process, as far as its gallery goes."""

    def __init__(self, folder, fingerprint="f00", mode="similarity"):
        self.backbone = ColourBackbone(fingerprint)
        settings = ImageSettings.model_validate({"mode": mode, "snapshots": folder})
        self.worker = ImageWorker(settings, lambda given: MODES[mode](given, self.backbone))
        self.worker.load()

    def apply(self, changes):
        self.worker.apply_changes(changes)
        return self

    def write(self):
        self.worker._loaded().keeper.learn()
        self.worker._loaded().keeper.write()
        return self

    def answers(self):
        outcomes = self.worker.run(self.worker.prepare(ASKED))
        assert all(isinstance(outcome, ImageResult) for outcome in outcomes)
        return outcomes


@pytest.fixture
def indexed(monkeypatch):
    """A gallery of 60 counts as a large one."""
    for module in (context, gallery, vectors):
        monkeypatch.setattr(module, "SMOOTHED_UP_TO", 10)
    for module in (indexes, stock):
        monkeypatch.setattr(module, "FLAT_BELOW", 20)


@pytest.mark.parametrize("mode", MODES)
def test_a_restart_embeds_nothing_again(tmp_path, mode):
    first = Run(tmp_path, mode=mode).apply(CHANGES).write()
    again = Run(tmp_path, mode=mode).apply(CHANGES)
    assert again.backbone.shown == 0
    assert again.worker.in_force == first.worker.in_force
    assert again.answers() == first.answers()


def test_a_large_gallery_comes_back_with_its_index(tmp_path, indexed, monkeypatch):
    first = Run(tmp_path).apply(CHANGES).write()
    monkeypatch.setattr(stock, "create_index", None)  # none is made
    again = Run(tmp_path).apply(CHANGES)
    assert again.answers() == first.answers()
    assert again.worker._loaded().by_name["default"].current.mode.facts["index"].startswith("RR")
    assert again.backbone.shown == len(ASKED)


def test_what_changed_meanwhile_is_all_that_is_embedded(tmp_path, indexed):
    Run(tmp_path).apply(CHANGES).write()
    newer = [*CHANGES[5:50], Change("default/r007", shade(500)), Change("default/new", shade(501))]
    again = Run(tmp_path).apply(newer)
    assert again.backbone.shown == 2
    fresh = Run(tmp_path / "none").apply(newer)
    assert again.worker.in_force == fresh.worker.in_force
    for one, other in zip(again.answers(), fresh.answers(), strict=True):
        assert "r000" not in {neighbor.id for neighbor in one.neighbors}
        assert one.neighbors[0] == other.neighbors[0]


def test_a_snapshot_of_a_gallery_that_was_changed_holds_the_changes(tmp_path, indexed):
    first = Run(tmp_path).apply(CHANGES).write()
    first.apply([Change("default/r001", None), Change("default/late", shade(77))]).write()
    kept = [*CHANGES[:1], *CHANGES[2:], Change("default/late", shade(77))]
    again = Run(tmp_path).apply(kept)
    assert again.backbone.shown == 0
    assert again.worker.in_force == first.worker.in_force
    for one, other in zip(again.answers(), first.answers(), strict=True):
        assert (one.neighbors[0], one.threshold) == (other.neighbors[0], other.threshold)


def test_another_models_snapshot_is_refused_by_name_and_made_anew(tmp_path, caplog):
    Run(tmp_path).apply(CHANGES).write()
    with caplog.at_level(logging.WARNING):
        other = Run(tmp_path, fingerprint="beef").apply(CHANGES)
    assert "f00" in caplog.text
    assert "beef" in caplog.text
    assert other.backbone.shown == len(CHANGES)
    other.write()
    assert Run(tmp_path, fingerprint="beef").apply(CHANGES).backbone.shown == 0


@pytest.mark.parametrize("suffix", [".gallery", ".index"])
@pytest.mark.parametrize("harm", ["cut", "flip", "empty"])
def test_a_broken_file_is_said_and_never_fatal(tmp_path, indexed, caplog, suffix, harm):
    first = Run(tmp_path).apply(CHANGES).write()
    [path] = tmp_path.glob(f"*{suffix}")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"cut": content[:-9], "flip": content, "empty": b""}[harm])
    with caplog.at_level(logging.WARNING):
        again = Run(tmp_path).apply(CHANGES)
    assert "made anew" in caplog.text or "embedded again" in caplog.text
    assert again.worker.in_force == first.worker.in_force
    assert isinstance(again.answers()[0], ImageResult)


def test_a_full_disk_is_said_and_never_fatal(tmp_path, caplog, monkeypatch):
    def full(path, parts):
        raise FatalError(f"gallery {path} can't be written: {errno.errorcode[errno.ENOSPC]}")

    monkeypatch.setattr("workers.image.snapshot.write_whole", full)
    with caplog.at_level(logging.WARNING):
        Run(tmp_path).apply(CHANGES[:3]).write().answers()
    assert "ENOSPC" in caplog.text
    assert not list(tmp_path.glob("*.gallery"))


def test_a_folder_that_can_not_be_made_is_never_fatal(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        Run(tmp_path / "file" / "folder").apply(CHANGES[:3]).write().answers()
    assert "no snapshot" in caplog.text


def test_galleries_have_files_of_their_own_whatever_their_names(tmp_path):
    names = ["a", "A", "ü", "..", "x" * 128, "a b"]
    first = Run(tmp_path).apply([Change(f"{name}/r", shade(i)) for i, name in enumerate(names)]).write()
    again = Run(tmp_path).apply([Change(f"{name}/r", shade(i)) for i, name in enumerate(names)])
    assert again.worker.in_force == first.worker.in_force
    assert again.backbone.shown == 0
    assert {path.parent for path in tmp_path.rglob("*.gallery")} == {tmp_path}


def test_what_a_process_left_half_written_is_cleared_away(tmp_path):
    (tmp_path / ".similarity-x.gallery.99999").write_bytes(b"half")
    Run(tmp_path)
    assert not list(tmp_path.glob(".*.gallery.*"))


def test_a_snapshot_that_stands_already_is_not_written_again(tmp_path, monkeypatch):
    Run(tmp_path).apply(CHANGES[:5]).write()
    monkeypatch.setattr(shelf, "write_snapshot", None)
    Run(tmp_path).apply(CHANGES[:5]).write()
