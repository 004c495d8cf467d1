"""Mutated messages through whole lanes with real models: each is one result or one dead letter, in its place.

`FUZZ_MESSAGES=100000 pytest tests/broker/test_fuzz_lane.py -k real` sends as many, a tenth of it images.
"""

import asyncio
import io
import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka.errors import GroupCoordinatorNotAvailableError
from PIL import Image

from config import Settings
from stream.client import Outgoing
from stream.dead_letter import from_headers
from tests.support.lanes import committed_and_end, everything, fresh_settings, running, send, until
from tests.unit.stream.test_fuzz import headers, mutated, posts
from workers.errors import REASONS
from workers.image.worker import create_image_worker
from workers.text.worker import create_text_worker

COUNT = int(os.environ.get("FUZZ_MESSAGES", "1500"))
ROOT = Path(__file__).resolve().parents[2]
LABELS = ROOT / "config" / "labels" / "news_topics.yaml"
BOARDS = ROOT / "examples" / "boards"

LIMIT_S = 120 + COUNT / 50
FEW = 5_000
"""Messages whose answers can be read again and again while they come."""


def fuzzed(random_: random.Random, seeds: Sequence[bytes], count: int) -> list[Outgoing]:
    """Messages of which some are whole, most are damaged and some are nothing; keys and headers likewise."""
    made = []
    for _ in range(count):
        value: bytes | None = random_.choice(seeds)
        kind = random_.random()
        if kind < 0.02:
            value = None
        elif kind < 0.03:
            value = random_.randbytes(random_.randint(0, 400))
        elif kind < 0.85:
            value = mutated(random_, value or b"")
        key = random_.choice([None, b"", b"k", b"\xff\xfe", random_.randbytes(4)])
        odd = tuple((name, found) for name, found in headers(random_) if found is not None)
        made.append(Outgoing(b"" if key is None and value is None else key, value, odd))
    return made


def images() -> list[bytes]:
    """Small images of several kinds, and claim checks that lead to some, or nowhere."""
    whole = Image.open(next((BOARDS / "references").glob("*.*"))).convert("RGB").resize((96, 64))
    files = []
    for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"):
        buffer = io.BytesIO()
        whole.save(buffer, kind)
        files.append(buffer.getvalue())
    there = str(next((BOARDS / "references").glob("*.*")).resolve())
    claims = [{"id": "c", "dataref": path} for path in (there, "/etc/passwd", "https://x.invalid/a.png", "")]
    return [*files, *map(orjson.dumps, claims)]


async def every_input_has_one_answer(
    settings: Settings, worker: Any, lane: str, feed: list[Outgoing]
) -> Counter[str]:
    """Send the feed and hold the answers against it, offset by offset."""
    source, sink = ("posts", "labels") if lane == "text" else ("images", "matches")
    await send(settings, source, feed)
    inputs = Counter((record.partition, record.offset) for record in await everything(settings, source))
    assert inputs.total() == len(feed)

    ends = {p: 1 + max(offset for q, offset in inputs if q == p) for p in {p for p, _ in inputs}}

    async def done() -> bool:
        if len(feed) <= FEW:  # the embedded broker does not keep offsets that transactions commit
            answers = await everything(settings, sink), await everything(settings, "dead-letters")
            return sum(map(len, answers)) >= len(feed)
        await asyncio.sleep(0.2)  # nothing has to be known at once, and asking costs the lane time
        try:
            committed, _ = await committed_and_end(settings, lane, source)
        except GroupCoordinatorNotAvailableError:  # of a broker that has just started
            return False
        return committed == ends

    async with running(settings, worker, lane):
        await until(done, LIMIT_S)
    places: Counter[tuple[int, int]] = Counter()
    outcomes: Counter[str] = Counter()
    for record in await everything(settings, sink):
        found = orjson.loads(record.value or b"")["source"]
        places[found["partition"], found["offset"]] += 1
        outcomes["result"] += 1
    for letter in await everything(settings, "dead-letters"):
        facts = from_headers(letter.headers)
        assert facts.reason in REASONS
        places[facts.partition, facts.offset] += 1
        outcomes[facts.reason] += 1
    assert places == inputs
    return outcomes


@pytest.mark.timeout(LIMIT_S)
async def test_every_fuzzed_post_gets_a_result_or_a_dead_letter(
    bootstrap: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = fresh_settings(bootstrap, text={"labels": LABELS, "model": "static"})
    worker = create_text_worker(settings.text)
    worker.load()
    feed = fuzzed(random.Random(21), posts(), COUNT)
    outcomes = await every_input_has_one_answer(settings, worker, "text", feed)
    with capsys.disabled():
        print(f"\n{len(feed)} posts: {dict(outcomes)}")
    assert outcomes["result"] > 0.1 * COUNT
    assert len(outcomes) >= 6
    assert not outcomes["unexpected"], "a decoder let something escape"
    assert not outcomes["model_failed"]


@pytest.mark.timeout(LIMIT_S)
async def test_every_fuzzed_image_gets_a_result_or_a_dead_letter(
    bootstrap: str, capsys: pytest.CaptureFixture[str]
) -> None:
    image = {"mode": "compare", "references": BOARDS / "references", "allowed_folders": (BOARDS,)}
    settings = fresh_settings(bootstrap, image=image)
    worker = create_image_worker(settings.image)
    worker.load()
    random_ = random.Random(22)
    feed = [
        replace(image, headers=(*image.headers, ("reference", random_.choice([b"board-1", b"board-2"]))))
        for image in fuzzed(random_, images(), max(100, COUNT // 10))
    ]
    outcomes = await every_input_has_one_answer(settings, worker, "image", feed)
    with capsys.disabled():
        print(f"\n{len(feed)} images: {dict(outcomes)}")
    assert outcomes["result"]
    assert len(outcomes) >= 5
    assert not outcomes["unexpected"], "a decoder let something escape"
    assert not outcomes["model_failed"]
