"""What `feedsight references apply` publishes: all that differs, and nothing that does not."""

import os
from pathlib import Path

import orjson
import pytest
from PIL import Image

from cli.reference_source import Source
from config import ImageSettings
from schemas import Reference
from stream.client import Outgoing
from stream.references import Catalogue, Stored
from tests.unit.image.drawn import encoded
from workers.base import Change
from workers.errors import FatalError
from workers.image.membership import member_digest
from workers.image.parse import parse_reference


def grey(value: int) -> bytes:
    return encoded(Image.new("L", (8, 8), value))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "good"
    (made / "ann").mkdir(parents=True)
    (made / "a.png").write_bytes(grey(1))
    (made / "ann" / "b.png").write_bytes(grey(2))
    return made


def source(path: Path, *, inline: bool | None = None, prune: bool = False) -> Source:
    return Source(path, "g", ImageSettings(), inline=inline, prune=prune)


def keys(records: list[Outgoing]) -> list[str]:
    return [(record.key or b"").decode() + ("" if record.value is not None else " -") for record in records]


def as_a_worker_reads_it(record: Outgoing) -> Reference:
    return parse_reference(Change((record.key or b"").decode(), record.value, record.headers), 10**7)


def on_the_topic(records: list[Outgoing]) -> Catalogue:
    catalogue = Catalogue()
    for record in records:
        reference = as_a_worker_reads_it(record)
        stored = Stored(reference, member_digest(reference), 1)
        catalogue.galleries.setdefault(reference.gallery, {})[reference.id] = stored
    return catalogue


@pytest.mark.parametrize("inline", [True, False])
def test_a_worker_reads_what_was_published(folder: Path, inline: bool):
    first, second = map(as_a_worker_reads_it, source(folder, inline=inline).records(Catalogue()))
    assert (first.gallery, first.id, first.label) == ("g", "a.png", None)
    assert (second.id, second.label, second.subject) == ("ann/b.png", "ann", "ann")
    if inline:
        assert first.content == grey(1)
    else:
        assert first.dataref == str(folder / "a.png")


def test_what_is_on_the_topic_is_not_published_again_however_it_travels(folder: Path):
    catalogue = on_the_topic(list(source(folder, inline=True).records(Catalogue())))
    again = source(folder, inline=False)
    assert list(again.records(catalogue)) == []
    assert (again.enrolled, again.unchanged) == (0, 2)


def test_what_differs_in_bytes_or_facts_is_published(folder: Path, tmp_path: Path):
    catalogue = on_the_topic(list(source(folder).records(Catalogue())))
    (folder / "a.png").write_bytes(grey(9))
    manifest = tmp_path / "m.jsonl"
    lines = [
        {"id": "a.png", "path": "good/a.png"},
        {"id": "ann/b.png", "path": "good/ann/b.png", "subject": "ann", "label": "x", "metadata": {"n": 1}},
    ]
    manifest.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    records = list(source(manifest).records(catalogue))
    assert keys(records) == ["g/a.png", "g/ann/b.png"]
    assert as_a_worker_reads_it(records[1]).metadata == {"n": 1}


def test_what_can_not_be_decoded_is_said_and_not_published(folder: Path):
    (folder / "broken.png").write_bytes(b"no image")
    found = source(folder)
    assert keys(list(found.records(Catalogue()))) == ["g/a.png", "g/ann/b.png"]
    assert "image_format" in found.failed["broken.png"]


def test_a_folder_is_followed(folder: Path):
    found, catalogue = source(folder), Catalogue()
    list(found.records(catalogue))
    assert list(found.records(catalogue)) == []
    (folder / "new.png").write_bytes(grey(5))
    (folder / "a.png").unlink()
    (folder / "ann" / "b.png").write_bytes(grey(6))
    assert keys(list(found.records(catalogue))) == ["g/a.png -", "g/ann/b.png", "g/new.png"]
    os.utime(folder / "new.png", ns=(1, 1))  # touched, and the same
    assert list(found.records(catalogue)) == []
    for path in (folder / "new.png", folder / "ann" / "b.png"):
        path.unlink()
    assert keys(list(found.records(catalogue))) == ["g/ann/b.png -", "g/new.png -"]


def test_a_file_that_was_half_written_is_looked_at_again(folder: Path):
    found, catalogue = source(folder), Catalogue()
    (folder / "new.png").write_bytes(grey(5)[:20])
    list(found.records(catalogue))
    assert list(found.failed) == ["new.png"]
    assert list(found.records(catalogue)) == []
    assert not found.failed
    (folder / "new.png").write_bytes(grey(5))
    assert keys(list(found.records(catalogue))) == ["g/new.png"]


def test_members_that_others_enrolled_stay_unless_they_are_to_be_pruned(folder: Path):
    catalogue = on_the_topic(list(source(folder).records(Catalogue())))
    (folder / "a.png").unlink()
    assert list(source(folder).records(catalogue)) == []
    assert keys(list(source(folder, prune=True).records(catalogue))) == ["g/a.png -"]


def test_the_checksum_is_that_of_what_is_on_the_topic(folder: Path):
    catalogue = Catalogue()
    list(source(folder).records(catalogue))
    assert catalogue.checksum("g") == on_the_topic(list(source(folder).records(Catalogue()))).checksum("g")


def test_an_image_too_large_for_a_record_is_said(tmp_path: Path):
    (tmp_path / "big.bmp").write_bytes(encoded(Image.new("RGB", (700, 700)), "BMP"))
    found = source(tmp_path, inline=True)
    assert list(found.records(Catalogue())) == []
    assert "too many" in found.failed["big.bmp"]
    [record] = source(tmp_path).records(Catalogue())
    assert as_a_worker_reads_it(record).dataref


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path):
    with pytest.raises(FatalError):
        list(source(tmp_path / "nowhere").records(Catalogue()))
