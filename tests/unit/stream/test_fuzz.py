"""Mutated and made-up messages: each is decoded or refused with a MessageError; nothing else comes out."""

import io
import json
import os
import random
from collections import Counter
from pathlib import Path

import numpy as np
import orjson
import pytest
from PIL import Image

from schemas import ImageMessage, Post
from stream.codec import image_decoder, post_decoder
from workers.errors import REASONS, MessageError
from workers.image.decode import Decoder
from workers.image.modes.base import DecodedImage

COUNT = int(os.environ.get("FUZZ_MESSAGES", "5000"))
"""Messages a test; more by hand: FUZZ_MESSAGES=100000."""

STORM = Path(__file__).resolve().parents[3] / "examples" / "storm" / "posts.jsonl"


class Record:
    topic = "t"
    partition = 0
    offset = 7
    timestamp = 0

    def __init__(self, value, headers=(), key=None):
        self.value = value
        self.headers = tuple(headers)
        self.key = key


def mutated(random_: random.Random, value: bytes) -> bytes:
    """Flip, drop, repeat, cut or splice bytes."""
    data = bytearray(value)
    for _ in range(random_.randint(1, 6)):
        if not data:
            break
        at = random_.randrange(len(data))
        kind = random_.randrange(6)
        if kind == 0:
            data[at] = random_.randrange(256)
        elif kind == 1:
            del data[at : at + random_.randint(1, 8)]
        elif kind == 2:
            data[at:at] = data[at : at + random_.randint(1, 32)]
        elif kind == 3:
            del data[at:]
        elif kind == 4:
            data[at:at] = random_.choice(
                [b'"', b"{", b"[", b"\x00", b"\xff\xfe", b"\\u", b"1e999", b"null", b"-"]
            )
        else:
            data[at:at] = random_.randbytes(random_.randint(1, 4))
    return bytes(data)


def headers(random_: random.Random) -> list[tuple[str, bytes | None]]:
    """Headers that fit, headers that don't, and headers that are null."""
    names = [
        "content-type",
        "Content-Type",
        "ce_id",
        "id",
        "subject",
        "reference",
        "sha256",
        "ce_specversion",
        "x",
    ]
    values = [
        b"text/json", b"application/cloudevents", b"image/jpeg", b"", b"\xff\xfe", b"a" * 300, None, b"i",
    ]  # fmt: skip
    return [(random_.choice(names), random_.choice(values)) for _ in range(random_.randint(0, 4))]


def posts() -> list[bytes]:
    lines = STORM.read_bytes().splitlines()[:60]
    events = [
        orjson.dumps({"specversion": "1.0", "id": "e", "data": orjson.loads(line)}) for line in lines[:20]
    ]
    odd = [json.dumps(value).encode() for value in (None, [], {}, 1, "x", [[[]]], {"id": {}, "text": []})]
    deep = [b"[" * 5_000, b'{"a":' * 5_000]
    return [*lines, *events, *odd, *deep]


def test_no_post_gets_anything_but_a_post_or_a_reason() -> None:
    random_ = random.Random(11)
    seeds, decode, seen = posts(), post_decoder(), Counter()
    for _ in range(COUNT):
        value = mutated(random_, random_.choice(seeds))
        try:
            found = decode(Record(value, headers(random_)))
        except MessageError as error:
            assert error.reason in REASONS
            seen[error.reason] += 1
        else:
            assert isinstance(found, Post)
            seen["post"] += 1
    assert len(seen) >= 5, seen  # the fuzzer reaches more than one corner


def test_no_image_message_gets_anything_but_a_message_or_a_reason() -> None:
    random_ = random.Random(12)
    claim = orjson.dumps(
        {"id": "i", "dataref": "/tmp/x.jpg", "sha256": "0" * 64, "size": 3, "metadata": {"a": 1}}
    )
    event = orjson.dumps({"specversion": "1.0", "id": "e", "data": orjson.loads(claim)})
    decode, seen = image_decoder(1_000_000), Counter()
    for _ in range(COUNT):
        value = mutated(random_, random_.choice([claim, event, b"\xff\xd8\xff\xe0 not quite a JPEG"]))
        try:
            found = decode(Record(value, headers(random_), random_.choice([None, b"key", b"\xff"])))
        except MessageError as error:
            assert error.reason in REASONS
            seen[error.reason] += 1
        else:
            assert isinstance(found, ImageMessage)
            seen["image"] += 1
    assert len(seen) >= 4, seen


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_no_image_bytes_get_anything_but_pixels_or_a_reason(kind: str) -> None:
    random_ = random.Random(13)
    pixels = np.random.default_rng(0).integers(0, 255, (24, 40, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    seen: Counter[str] = Counter()
    decoder = Decoder(max_bytes=1_000_000, max_pixels=1_000_000)
    for _ in range(max(COUNT // 10, 100)):
        try:
            found = decoder.decode(mutated(random_, buffer.getvalue()))
        except MessageError as error:
            assert error.reason in REASONS
            seen[error.reason] += 1
        else:
            assert isinstance(found, DecodedImage)
            seen["pixels"] += 1
    assert seen.total() == max(COUNT // 10, 100)
