"""A file of the model cache that was changed since it was made is made anew, never opened."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from workers.image.models import cache as image_cache
from workers.text.models import cache as text_cache


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEEDSIGHT_CACHE", str(tmp_path))
    return tmp_path


class Maker:
    """Makes a model, and counts how often."""

    def __init__(self) -> None:
        self.made = 0

    def file(self, path: Path) -> None:
        self.made += 1
        path.write_bytes(b"a good model")

    def folder(self, path: Path) -> None:
        (path / "sub").mkdir()
        self.file(path / "sub" / "model.onnx")


def text_model(maker: Maker) -> Path:
    return text_cache.cached_folder("text/a", maker.folder) / "sub" / "model.onnx"


def image_model(maker: Maker) -> Path:
    return image_cache.cached_file("a.onnx", maker.file)


Make = Callable[[Maker], Path]
both = pytest.mark.parametrize("model", [text_model, image_model])


@both
def test_what_is_unchanged_is_taken_as_it_is(root: Path, model: Make) -> None:
    maker = Maker()
    assert model(maker) == model(maker)
    assert maker.made == 1


@both
@pytest.mark.parametrize("evil", [b"an evil model", b"a g00d model", b""])
def test_a_changed_file_is_made_anew_and_said_to_be(
    root: Path, model: Make, evil: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    maker = Maker()
    model(maker).write_bytes(evil)
    with caplog.at_level(logging.WARNING):
        assert model(maker).read_bytes() == b"a good model"
    assert maker.made == 2
    assert "was changed since it was made" in caplog.text


@both
def test_a_change_is_noticed_by_a_process_that_has_not_seen_the_file_before(root: Path, model: Make) -> None:
    maker = Maker()
    path = model(maker)
    text_cache._verified.clear()
    image_cache._verified.clear()
    path.write_bytes(b"an evil model")
    assert model(maker).read_bytes() == b"a good model"


@both
def test_a_file_from_before_there_were_hashes_is_made_anew(root: Path, model: Make) -> None:
    maker = Maker()
    path = model(maker)
    (root / "a.onnx.sha256").unlink(missing_ok=True)
    if (complete := path.parents[1] / "complete").exists():
        complete.write_text("")
    model(maker)
    assert maker.made == 2


@pytest.mark.parametrize("hashes", ["[]", "not JSON", "{", json.dumps({"../../../etc/passwd": "0"})])
def test_a_list_of_hashes_that_is_none_counts_as_changed(root: Path, hashes: str) -> None:
    maker = Maker()
    (text_model(maker).parents[1] / "complete").write_text(hashes)
    text_model(maker)
    assert maker.made == 2
