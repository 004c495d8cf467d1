"""Images that can't be judged: one dead letter each, and their neighbours get their results."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
from PIL import Image

from config import ImageSettings
from schemas import ImageMessage, ImageResult
from stream.client import Incoming, Outgoing
from stream.dead_letter import from_headers
from tests.support.lanes import everything, fresh_settings, running, send, until
from tests.unit.image.drawn import EPS, SVG, encoded, gradient, part, png_header_only
from workers.image.worker import ImageWorker, create_image_worker

SOURCE_KEY = b"camera-7"
"""One key for all: one partition, so that offsets count the images as they were sent."""

GOOD = encoded(part(1))
BIG_HASH = "0" * 64


@dataclass(frozen=True)
class Places:
    """Where claim checks may and may not lead."""

    allowed: Path
    outside: Path


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    root = tmp_path_factory.mktemp("claim-checks")
    found = Places(root / "allowed", root / "outside.png")
    found.allowed.mkdir()
    (found.allowed / "good.png").write_bytes(GOOD)
    (found.allowed / "text.png").write_bytes(b"no image at all")
    found.outside.write_bytes(GOOD)
    (found.allowed / "link.png").symlink_to(found.outside)
    return found


@pytest.fixture(scope="module")
def worker(places: Places, tmp_path_factory: pytest.TempPathFactory) -> ImageWorker:
    """The real worker with a gallery of four drawn parts."""
    gallery = tmp_path_factory.mktemp("gallery")
    for seed in range(4):
        (gallery / f"part-{seed}.png").write_bytes(encoded(part(seed)))
    made = create_image_worker(
        ImageSettings(mode="similarity", references=gallery, allowed_folders=(places.allowed,))
    )
    made.load()
    return made


def raw(content: bytes | None, name: str, content_type: str = "image/jpeg") -> Outgoing:
    return Outgoing(SOURCE_KEY, content, (("ce_id", name.encode()), ("content-type", content_type.encode())))


def claim(dataref: object, name: str, **facts: object) -> Outgoing:
    value = orjson.dumps({"id": name, "dataref": str(dataref), **facts})
    return Outgoing(SOURCE_KEY, value, (("content-type", b"application/json"),))


Make = Callable[[Places], Outgoing]
SHA = hashlib.sha256(GOOD).hexdigest()

BAD: dict[str, tuple[str, Make]] = {
    "truncated JPEG": ("image_undecodable", lambda _: raw(encoded(gradient(), "JPEG")[:300], "x")),
    "30,000 × 30,000 PNG": ("image_too_large", lambda _: raw(png_header_only(30_000, 30_000), "x")),
    "SVG named .jpg": ("image_format", lambda _: raw(SVG, "drawing.jpg")),
    "EPS named .jpg": ("image_format", lambda _: raw(EPS, "drawing.jpg")),
    "not an image": ("image_format", lambda _: raw(b"\x00\xff hello", "x")),
    "null value": ("null_value", lambda _: raw(None, "x")),
    "empty value": ("image_undecodable", lambda _: raw(b"", "x")),
    "hash in a header differs": (
        "claim_check_mismatch",
        lambda _: Outgoing(SOURCE_KEY, GOOD, (("sha256", BIG_HASH.encode()),)),
    ),
    "header without a value, and no image": (
        "image_format",
        lambda _: Outgoing(SOURCE_KEY, b"no image", (("subject", None),)),  # type: ignore[arg-type]
    ),
    "claim check that is no JSON": (
        "not_json",
        lambda _: Outgoing(SOURCE_KEY, b"{dataref", (("content-type", b"application/json"),)),
    ),
    "claim check with an unknown field": ("unknown_field", lambda p: claim("good.png", "x", colour="red")),
    "..": ("claim_check_refused", lambda p: claim("../outside.png", "x")),
    ".. behind the allowed folder": (
        "claim_check_refused",
        lambda p: claim(f"{p.allowed}/../outside.png", "x"),
    ),
    "symbolic link": ("claim_check_refused", lambda p: claim(p.allowed / "link.png", "x")),
    "absolute path": ("claim_check_refused", lambda p: claim(p.outside, "x")),
    "file: address": ("claim_check_refused", lambda p: claim(f"file://{p.outside}", "x")),
    "file: address with a host": (
        "claim_check_refused",
        lambda p: claim(f"file://elsewhere{p.allowed}/good.png", "x"),
    ),
    "http": ("claim_check_refused", lambda _: claim("http://127.0.0.1:9/good.png", "x")),
    "https host that is not allowed": ("claim_check_refused", lambda _: claim("https://127.0.0.1/a", "x")),
    "the folder itself": ("claim_check_refused", lambda p: claim(p.allowed, "x")),
    "not there": ("claim_check_unreachable", lambda p: claim(p.allowed / "missing.png", "x")),
    "sha256 differs": ("claim_check_mismatch", lambda p: claim(p.allowed / "good.png", "x", sha256=BIG_HASH)),
    "size differs": ("claim_check_mismatch", lambda p: claim(p.allowed / "good.png", "x", size=3)),
    "claimed file is no image": ("image_format", lambda p: claim("text.png", "x")),
}
"""What is wrong: the reason it gets, and how it is made."""


async def test_bad_images_become_one_dead_letter_each_and_their_neighbours_are_judged(
    bootstrap: str, places: Places, worker: ImageWorker
) -> None:
    settings = fresh_settings(
        bootstrap,
        image={"max_batch_items": 200, "max_batch_pixels": 10**9, "batch_deadline_ms": 500},
        lane={"retries": 0},  # a file that is not there would be looked for again
    )
    sent = [raw(GOOD, "good-0", "image/png")]
    for number, (_, make) in enumerate(BAD.values(), start=1):
        good = raw(GOOD, f"good-{number}", "image/png")
        by_claim = claim(places.allowed / "good.png", f"good-{number}", sha256=SHA, size=len(GOOD))
        sent += [make(places), by_claim if number % 2 else good]
    await send(settings, "images", sent)

    async def all_answered() -> bool:
        matches, letters = await everything(settings, "matches"), await everything(settings, "dead-letters")
        return len(matches) + len(letters) >= len(sent)

    async with running(settings, worker, "image"):
        await until(all_answered)

    letters = {int(dict(r.headers)["source_offset"]): r for r in await everything(settings, "dead-letters")}
    assert len(await everything(settings, "dead-letters")) == len(letters) == len(BAD)
    for number, (what, (reason, _)) in enumerate(BAD.items()):
        offset = 2 * number + 1
        assert_dead_letter_of(letters[offset], sent[offset], settings.topics.prefix + "images", offset)
        assert (what, from_headers(letters[offset].headers).reason) == (what, reason)

    results = [ImageResult.model_validate_json(r.value or b"") for r in await everything(settings, "matches")]
    assert sorted(result.id for result in results) == sorted(f"good-{n}" for n in range(len(BAD) + 1))
    for result in results:
        assert result.neighbors[0].id == "part-1.png"
        assert result.source is not None
        assert result.source.offset == 2 * int(result.id.removeprefix("good-"))
    assert len({result.score for result in results}) == 1


def assert_dead_letter_of(letter: Incoming, source: Outgoing, topic: str, offset: int) -> None:
    """The input as it was, with its place in the headers under our names and Kafka Connect's."""
    headers = dict(letter.headers)
    facts = from_headers(letter.headers)
    assert (letter.key, letter.value) == (source.key, source.value)
    assert letter.headers[: len(source.headers)] == source.headers
    assert (facts.topic, facts.offset, facts.stage) == (topic, offset, "image")
    assert headers["source_partition"] == headers["__connect.errors.partition"]
    assert headers["source_topic"] == headers["__connect.errors.topic"] == topic.encode()
    assert facts.partition == letter.partition  # dead letters keep the partition of their input


async def test_a_bad_image_leaks_no_path_and_no_content_into_its_dead_letter(
    embedded_bootstrap: str, places: Places, worker: ImageWorker
) -> None:
    settings = fresh_settings(embedded_bootstrap)
    await send(settings, "images", [claim(places.allowed / "link.png", "x")])

    async def answered() -> bool:
        return len(await everything(settings, "dead-letters")) == 1

    async with running(settings, worker, "image"):
        await until(answered)
    (letter,) = await everything(settings, "dead-letters")
    assert str(places.outside) not in from_headers(letter.headers).detail


def test_the_gallery_tells_the_good_image(worker: ImageWorker) -> None:
    """What the tests above build on."""
    (found,) = worker.run(worker.prepare([ImageMessage(id="i", content=GOOD)]))
    assert isinstance(found, ImageResult)
    assert found.neighbors[0].similarity > 0.99
    white = encoded(Image.new("RGB", (64, 64), "white"))
    (other,) = worker.run(worker.prepare([ImageMessage(id="w", content=white)]))
    assert isinstance(other, ImageResult)
    assert other.score < found.score
