"""References on a real Kafka: enrolled by command, in force on every worker, refused, removed, and shown."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from config import Settings
from stream.client import Outgoing
from stream.references import read_catalogue
from stream.topics import create_topics
from tests.support.lanes import everything, fresh_settings, send, until
from tests.support.processes import WorkerProcess
from tests.unit.image.drawn import encoded, part

pytestmark = [pytest.mark.broker, pytest.mark.slow]


def feedsight(settings: Settings, *arguments: object, status: int = 0) -> str:
    """Run a command as a user does; what it prints, stderr after stdout."""
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from cli.main import main; main()", *map(str, arguments)),
            *("--kafka", settings.kafka.bootstrap, "--prefix", settings.topics.prefix),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def settings(real_bootstrap: str) -> Settings:
    made = fresh_settings(real_bootstrap)
    asyncio.run(create_topics(made.kafka, made.topics))
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "parts"
    made.mkdir()
    for seed in range(6):
        (made / f"part-{seed}.png").write_bytes(encoded(part(seed)))
    return made


class Workers:
    """Image workers, and what they have said of the galleries."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings, self._folder = settings, folder
        self.all: list[WorkerProcess] = []

    def start(self) -> None:
        log = self._folder / f"worker-{len(self.all)}.log"
        arguments = ["image", "--mode", "similarity", "--allow-folder", str(self._folder)]
        self.all.append(WorkerProcess(arguments, self._settings, log))

    def shown(self) -> list[dict[str, Any]]:
        return [
            json.loads(line)
            for line in feedsight(self._settings, "references", "show", "--json").splitlines()
        ]


@pytest.fixture
def workers(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    monkeypatch.setenv("FEEDSIGHT_METRICS__INTERVAL_S", "3")
    made = Workers(settings, tmp_path)
    yield made
    for worker in made.all:
        worker.close()


async def events(settings: Settings, kind: str) -> list[dict[str, Any]]:
    found = [orjson.loads(record.value or b"{}") for record in await everything(settings, "metrics")]
    return [event for event in found if event.get("kind") == kind]


async def in_force_everywhere(settings: Settings, workers: Workers, gallery: str, checksum: str) -> bool:
    """Whether the last word of each worker on a gallery has the checksum."""
    last: dict[str, str] = {}
    for event in await events(settings, "in_force"):
        if event["name"] == gallery:
            last[event["worker"]] = event["facts"]["checksum"]
    return len(last) == len(workers.all) and set(last.values()) == {checksum}


async def matches(settings: Settings, count: int) -> list[dict[str, Any]]:
    async def all_there() -> bool:
        return len(await everything(settings, "matches")) >= count

    await until(all_there)
    return [orjson.loads(record.value or b"") for record in await everything(settings, "matches")]


async def test_galleries_are_changed_on_running_workers(
    settings: Settings, workers: Workers, folder: Path
) -> None:
    workers.start()
    workers.start()

    async def both_wait() -> bool:
        return len({event["worker"] for event in await events(settings, "started")}) == 2

    await until(both_wait, 150)
    await send(settings, "images", [Outgoing(None, encoded(part(0)), (("id", b"early"),))])

    # enrolled by a command that waits for every worker; done again, nothing is published
    said = feedsight(settings, "references", "apply", folder, "--wait")
    assert "6 published" in said
    assert "in force on 2 workers" in said
    said = feedsight(settings, "references", "apply", folder, "--wait")
    assert "0 published, 6 unchanged" in said

    # the image that came before there was a gallery was kept, not dead-lettered
    [early] = await matches(settings, 1)
    assert early["neighbors"][0]["id"] == "part-0.png"

    # a worker that joins late has the same gallery
    [line] = workers.shown()
    workers.start()
    await until(lambda: in_force_everywhere(settings, workers, "default", line["checksum"]), 150)

    # a wrong record is refused by all, and harms nothing
    await send(settings, "references", [Outgoing(b"default/bad.png", b"no image")])

    async def refused_by_all() -> bool:
        found = [event for event in await events(settings, "refused") if "bad.png" in event["detail"]]
        return len({event["worker"] for event in found}) == 3

    await until(refused_by_all)
    assert await in_force_everywhere(settings, workers, "default", line["checksum"])

    # what is removed is in no result from then on
    said = feedsight(settings, "references", "remove", "part-0.png", "--wait")
    assert "in force on 3 workers" in said
    images = [Outgoing(f"k{i}".encode(), encoded(part(0)), (("id", f"late{i}".encode()),)) for i in range(12)]
    await send(settings, "images", images)
    late = [found for found in await matches(settings, 13) if found["id"] != "early"]
    assert all("part-0.png" not in {n["id"] for n in found["neighbors"]} for found in late)
    assert len({found["version"] for found in late}) == 1
    assert late[0]["version"] != early["version"]


async def test_claim_checks_galleries_and_a_folder_that_is_watched(
    settings: Settings, workers: Workers, folder: Path
) -> None:
    workers.start()
    (folder / "broken.png").write_bytes(b"no image")
    said = feedsight(
        settings, "references", "apply", folder, "--gallery", "line7", "--dataref", "--wait", status=1
    )
    assert "broken.png" in said
    assert "6 published" in said
    await send(
        settings,
        "images",
        [
            Outgoing(b"k", encoded(part(3)), (("id", b"a"), ("gallery", b"line7"))),
            Outgoing(b"k", encoded(part(3)), (("id", b"b"), ("gallery", b"nowhere"))),
        ],
    )
    [found] = await matches(settings, 1)
    assert (found["gallery"], found["neighbors"][0]["id"]) == ("line7", "part-3.png")

    async def dead() -> bool:
        letters = await everything(settings, "dead-letters")
        return [dict(letter.headers)["reason"] for letter in letters] == [b"unknown_gallery"]

    await until(dead)

    (folder / "broken.png").unlink()
    watching = subprocess.Popen(  # noqa: ASYNC220 - it is read line by line
        [
            *(sys.executable, "-c", "from cli.main import main; main()", "references", "apply", str(folder)),
            *("--gallery", "line7", "--watch", "--every", "0.2", "--kafka", settings.kafka.bootstrap),
            *("--prefix", settings.topics.prefix),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert watching.stdout is not None
        assert "6 unchanged" in watching.stdout.readline()
        (folder / "new.png").write_bytes(encoded(part(50)))
        (folder / "part-1.png").unlink()
        members = {f"part-{seed}.png" for seed in (0, 2, 3, 4, 5)} | {"new.png"}

        async def followed() -> bool:
            return set((await read_catalogue(settings)).galleries["line7"]) == members

        await until(followed)
    finally:
        watching.kill()
        watching.wait()
    checksum = (await read_catalogue(settings)).checksum("line7")
    await until(lambda: in_force_everywhere(settings, workers, "line7", checksum))
