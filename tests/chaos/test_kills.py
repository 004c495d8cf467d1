"""Real workers on a real Kafka, killed, stopped and frozen: nothing is lost and nothing is answered twice.

The reader is an independent `read_committed` consumer without a group.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from cli.send import image_records
from config import Settings
from stream.client import Outgoing
from tests.support.lanes import committed_and_end, everything, fresh_settings, send, until
from tests.support.processes import WorkerProcess

pytestmark = [pytest.mark.broker, pytest.mark.chaos, pytest.mark.timeout(400)]

ROOT = Path(__file__).resolve().parents[2]
LABELS = ROOT / "config" / "labels" / "news_topics.yaml"


class Crew:
    """The workers of one test."""

    def __init__(self, settings: Settings, folder: Path, arguments: list[str]) -> None:
        self._settings = settings
        self._folder = folder
        self._arguments = arguments
        self.members: list[WorkerProcess] = []

    def hire(self) -> WorkerProcess:
        log = self._folder / f"worker-{len(self.members)}.log"
        worker = WorkerProcess(self._arguments, self._settings, log)
        self.members.append(worker)
        return worker

    def logs(self) -> str:
        return "\n".join(f"--- {n}\n{member.log}" for n, member in enumerate(self.members))

    def dismiss(self) -> None:
        for member in self.members:
            member.close()


@pytest.fixture
def settings(real_bootstrap: str) -> Settings:
    return fresh_settings(real_bootstrap, check_crcs=True)


@pytest.fixture
def text_crew(settings: Settings, tmp_path: Path) -> Iterator[Crew]:
    crew = Crew(settings, tmp_path, ["text", "--labels", str(LABELS)])
    yield crew
    crew.dismiss()


def posts(data: Path) -> list[Outgoing]:
    """The 3,800 posts of ag_news."""
    lines = (data / "ag_news" / "posts.jsonl").read_bytes().splitlines()
    return [Outgoing(orjson.loads(line)["id"].encode(), line) for line in lines]


async def results(settings: Settings, topic: str) -> Counter[str]:
    """How often each id was answered."""
    return Counter(orjson.loads(record.value or b"")["id"] for record in await everything(settings, topic))


async def answered(settings: Settings, topic: str, at_least: int, crew: Crew) -> bool:
    assert any(member.alive() for member in crew.members), crew.logs()
    return len(await everything(settings, topic)) >= at_least


async def assert_exactly_once(settings: Settings, lane: str, source: str, sink: str, sent: list[str]) -> None:
    found = await results(settings, sink)
    assert found == Counter(sent)
    assert await everything(settings, "dead-letters") == []
    committed, end = await committed_and_end(settings, lane, source)
    assert committed == end


async def test_a_killed_text_worker_loses_and_repeats_nothing(
    settings: Settings, text_crew: Crew, data: Path
) -> None:
    """3,800 posts, two workers; one is killed half-way and started again."""
    feed = posts(data)
    assert len(feed) == 3_800
    victim = text_crew.hire()
    text_crew.hire()
    await send(settings, "posts", feed)
    await until(lambda: answered(settings, "labels", 1_500, text_crew), 120)
    victim.kill()
    text_crew.hire()
    await until(lambda: answered(settings, "labels", 3_800, text_crew), 180)
    sent = [(post.key or b"").decode() for post in feed]
    await assert_exactly_once(settings, "text", "posts", "labels", sent)


async def test_sigterm_drains_and_ends_with_status_0(settings: Settings, text_crew: Crew, data: Path) -> None:
    feed = posts(data)[:1_500]
    worker = text_crew.hire()
    await send(settings, "posts", feed)
    await until(lambda: answered(settings, "labels", 300, text_crew), 120)
    assert worker.terminate() == 0, worker.log
    text_crew.hire()
    await until(lambda: answered(settings, "labels", 1_500, text_crew), 120)
    sent = [(post.key or b"").decode() for post in feed]
    await assert_exactly_once(settings, "text", "posts", "labels", sent)


async def test_a_frozen_worker_is_fenced_when_it_thaws(
    settings: Settings, text_crew: Crew, data: Path
) -> None:
    """SIGSTOP past the session: another worker takes over; what the zombie still holds is refused."""
    feed = posts(data)
    zombie = text_crew.hire()
    await send(settings, "posts", feed)
    await until(lambda: answered(settings, "labels", 800, text_crew), 120)
    zombie.freeze()
    text_crew.hire()
    await until(lambda: answered(settings, "labels", 2_600, text_crew), 180)
    zombie.thaw()
    await until(lambda: answered(settings, "labels", 3_800, text_crew), 180)
    sent = [(post.key or b"").decode() for post in feed]
    await assert_exactly_once(settings, "text", "posts", "labels", sent)


async def test_a_killed_image_worker_loses_and_repeats_nothing(
    settings: Settings, tmp_path: Path, data: Path
) -> None:
    """595 product photographs, two workers; one is killed half-way and started again."""
    folder = data / "clothing"
    crew = Crew(settings, tmp_path, ["image", "--mode", "similarity", "--references", str(folder / "hat")])
    try:
        feed = list(image_records(folder, claim_check=False))
        assert len(feed) == 595
        victim = crew.hire()
        crew.hire()
        await send(settings, "images", feed)
        await until(lambda: answered(settings, "matches", 200, crew), 120)
        victim.kill()
        crew.hire()
        await until(lambda: answered(settings, "matches", 595, crew), 180)
        sent = [(image.key or b"").decode() for image in feed]
        await assert_exactly_once(settings, "image", "images", "matches", sent)
    finally:
        crew.dismiss()
