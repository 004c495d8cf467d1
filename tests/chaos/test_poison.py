"""Posts that end the process, on a real Kafka; the worker is started again as an orchestrator would."""

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import orjson
import pytest

from config import Settings
from stream.client import Outgoing
from stream.dead_letter import from_headers
from tests.support.lanes import committed_and_end, everything, fresh_settings, send, until

pytestmark = [pytest.mark.broker, pytest.mark.chaos, pytest.mark.timeout(300)]


class Supervisor:
    """Starts a worker again whenever it ends, and keeps how it ended."""

    def __init__(self, settings: Settings, log: Path, delivery: str = "exactly_once") -> None:
        self._arguments = [settings.kafka.bootstrap, settings.kafka.group, settings.topics.prefix, delivery]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.ended: list[int] = []
        """Exit statuses, a signal's number negative."""

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")[-8_000:]

    def look(self) -> None:
        """Start one where none runs."""
        if self._process is not None and self._process.poll() is None:
            return
        if self._process is not None:
            self.ended.append(self._process.returncode)
        command = [sys.executable, "-m", "tests.support.poisoned_worker", *self._arguments]
        with self._log.open("ab") as stream:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)

    def dismiss(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(60)


def feed(poison: dict[int, str], count: int) -> list[Outgoing]:
    """Posts p0, p1 …; some of them say what is to happen."""
    return [
        Outgoing(
            b"key-%d" % (n % 7), orjson.dumps({"id": f"p{n}", "text": poison.get(n, "all is well") + f" {n}"})
        )
        for n in range(count)
    ]


async def outcome(
    settings: Settings, supervisor: Supervisor, count: int
) -> tuple[Counter[str], dict[str, str]]:
    """Wait until all is answered; how often each id got a result, and the reasons of those that did not."""

    async def answered() -> bool:
        supervisor.look()
        assert len(supervisor.ended) < 30, supervisor.log
        results, letters = await everything(settings, "labels"), await everything(settings, "dead-letters")
        return len(results) + len(letters) >= count

    await until(answered, 240)
    await asyncio.sleep(1)  # anything twice would come now
    results = Counter(orjson.loads(r.value or b"")["id"] for r in await everything(settings, "labels"))
    letters = {
        orjson.loads(letter.value or b"")["id"]: from_headers(letter.headers).reason
        for letter in await everything(settings, "dead-letters")
    }
    return results, letters


async def test_a_post_that_crashes_the_process_three_times_is_a_dead_letter_and_its_neighbours_are_answered(
    real_bootstrap: str, tmp_path: Path
) -> None:
    """The worker is started again each time; the fourth puts the post aside. NaN is no reason to end."""
    settings = fresh_settings(real_bootstrap, check_crcs=True)
    supervisor = Supervisor(settings, tmp_path / "worker.log")
    count, poison = 1_000, {3: "wrong", 420: "abort", 999: "wrong"}
    await send(settings, "posts", feed(poison, count))
    results, letters = await outcome(settings, supervisor, count)
    assert supervisor.dismiss() == 0, supervisor.log
    assert letters == {"p3": "model_failed", "p420": "crashed_worker", "p999": "model_failed"}, supervisor.log
    assert results == Counter(f"p{n}" for n in range(count) if n not in poison)
    assert supervisor.ended == [-signal.SIGABRT] * 3, supervisor.log
    committed, end = await committed_and_end(settings, "text", "posts")
    assert committed == end


async def test_a_post_that_the_model_hangs_on_is_found_too_and_without_transactions(
    real_bootstrap: str, tmp_path: Path
) -> None:
    settings = fresh_settings(real_bootstrap, check_crcs=True, lane={"delivery": "at_least_once"})
    supervisor = Supervisor(settings, tmp_path / "worker.log", "at_least_once")
    count = 300
    await send(settings, "posts", feed({77: "hang"}, count))
    results, letters = await outcome(settings, supervisor, count)
    assert supervisor.dismiss() == 0, supervisor.log
    assert letters == {"p77": "crashed_worker"}
    assert set(results) == {f"p{n}" for n in range(count) if n != 77}
    assert supervisor.ended == [1] * 3, supervisor.log
