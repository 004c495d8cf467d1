"""The parts of a load test: a paced sender, a worker process, an independent reader, samples of all three."""

import asyncio
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from config import Settings
from stream import clients
from stream.client import read

TICK_S: Final = 0.1
"""Between two bursts of the paced sender."""

SAMPLE_S: Final = 1.0

Record = tuple[bytes, bytes]
"""Key and value; keys are counted, so each is one message's own: `p0`, `p1` …"""

MakeRecord = Callable[[int], Record]


@dataclass
class Sample:
    """What was seen at one moment."""

    at_s: float
    sent: int
    answered: int
    rss_mb: float
    in_flight: float
    queue_mb: float


@dataclass
class Ledger:
    """How often each message was answered, read by a client of its own.

    Attributes:
        sent: messages the broker has acknowledged.
        results: answers that are results.
        letters: answers that are dead letters.
        answers: whether each message was answered.
        answered: messages with an answer.
        double: answers too many.
    """

    sent: int = 0
    results: int = 0
    letters: int = 0
    answers: bytearray = field(default_factory=bytearray)

    answered: int = 0
    double: int = 0

    @property
    def lost(self) -> int:
        """Messages without an answer."""
        return self.sent - self.answered

    def count(self, key: bytes | None, is_letter: bool) -> None:
        """An answer was read."""
        number = int((key or b"p-1")[1:])
        if not 0 <= number < self.sent + 1_000_000:
            raise ValueError(f"an answer to nothing: {key!r}")
        if number >= len(self.answers):
            self.answers.extend(bytes(number + 100_000 - len(self.answers)))
        if self.answers[number]:
            self.double += 1
        else:
            self.answers[number] = 1
            self.answered += 1
        self.letters += is_letter
        self.results += not is_letter


class WorkerProcess:
    """A worker, its memory and its metrics.

    Args:
        command: after the interpreter.
        settings: where it works.
        log: its stderr.
    """

    def __init__(self, command: Sequence[str], settings: Settings, log: Path, **environment: str) -> None:
        self._port = settings.metrics.port
        self.log = log
        named = {
            "FEEDSIGHT_KAFKA__BOOTSTRAP": settings.kafka.bootstrap,
            "FEEDSIGHT_KAFKA__GROUP": settings.kafka.group,
            "FEEDSIGHT_TOPICS__PREFIX": settings.topics.prefix,
            "FEEDSIGHT_METRICS__PORT": str(self._port),
            "FEEDSIGHT_METRICS__INTERVAL_S": "1",
        }
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                [sys.executable, *command], env={**os.environ, **named, **environment}, stderr=stream
            )

    def rss_mb(self) -> float:
        """Resident memory, in MiB."""
        with suppress(OSError):
            for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
                if line.startswith("VmRSS"):
                    return int(line.split()[1]) / 1_024
        return float("nan")

    def gauges(self) -> tuple[float, float]:
        """Inputs in flight, and their MiB; as of the last second."""
        found = {"feedsight_in_flight": float("nan"), "feedsight_queue_bytes": float("nan")}
        with suppress(OSError):
            page = urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=2).read().decode()
            for line in page.splitlines():
                name = line.partition("{")[0]
                if name in found:
                    found[name] = float(line.rpartition(" ")[2])
        return found["feedsight_in_flight"], found["feedsight_queue_bytes"] / 2**20

    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        self._process.terminate()
        return self._process.wait(60)


class Load:
    """One load test on one topic.

    Args:
        settings: where.
        worker: works on it.
        make: makes message number n.
        source: `posts` or `images`.
        sink: `labels` or `matches`.
    """

    def __init__(
        self,
        settings: Settings,
        worker: WorkerProcess,
        make: MakeRecord,
        source: str = "posts",
        sink: str = "labels",
    ) -> None:
        self.ledger = Ledger()
        self.samples: list[Sample] = []
        self._settings = settings
        self._worker = worker
        self._make = make
        self._source = settings.topics.prefix + source
        self._answers = (settings.topics.prefix + sink, settings.topics.prefix + "dead-letters")
        self._started = time.monotonic()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        """Read answers and take samples beside what the block sends."""
        self._producer = clients.idempotent_producer(self._settings.kafka, linger_ms=5)
        await self._producer.start()
        tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._sample())]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await clients.stop_quietly(self._producer)

    def log(self) -> str:
        """The end of what the worker said."""
        return self._worker.log.read_text(errors="replace")[-4_000:]

    async def send(self, rate: float, seconds: float) -> None:
        """Send so many a second for so long, whatever the worker does."""
        started, first = time.monotonic(), self.ledger.sent
        while (passed := time.monotonic() - started) < seconds:
            due = first + int(rate * min(passed + TICK_S, seconds))
            futures = []
            for number in range(self.ledger.sent, due):
                key, value = self._make(number)
                futures.append(await self._producer.send(self._source, value, key=key))
            await asyncio.gather(*futures)
            self.ledger.sent = max(due, self.ledger.sent)
            await asyncio.sleep(max(0.0, TICK_S - (time.monotonic() - started - passed)))

    async def until_answered(self, timeout_s: float = 600) -> float:
        """Wait until everything that was sent is answered; how long that took, in seconds."""
        started = time.monotonic()
        async with asyncio.timeout(timeout_s):
            while self.ledger.answered < self.ledger.sent:
                if not self._worker.alive():
                    raise RuntimeError("the worker has ended")
                await asyncio.sleep(0.1)
        return time.monotonic() - started

    async def _read(self) -> None:
        async for record in read(self._settings.kafka, *self._answers, from_start=True):
            self.ledger.count(record.key, record.topic == self._answers[1])

    async def _sample(self) -> None:
        while True:
            in_flight, queue_mb = await asyncio.to_thread(self._worker.gauges)
            self.samples.append(
                Sample(
                    time.monotonic() - self._started,
                    self.ledger.sent,
                    self.ledger.answered,
                    self._worker.rss_mb(),
                    in_flight,
                    queue_mb,
                )
            )
            await asyncio.sleep(SAMPLE_S)


def slope(samples: Sequence[Sample]) -> tuple[float, float]:
    """Growth of the worker's memory and its standard error, MiB an hour, by least squares.

    Neighbouring samples are alike, so the error is taken from means of a minute each.
    """
    minutes: dict[int, list[Sample]] = {}
    for sample in samples:
        minutes.setdefault(int(sample.at_s // 60), []).append(sample)
    hours = np.array([np.mean([s.at_s for s in group]) / 3_600 for group in minutes.values()])
    rss = np.array([np.mean([s.rss_mb for s in group]) for group in minutes.values()])
    if len(hours) < 3:
        return float("nan"), float("nan")
    (growth, start), *_ = np.polyfit(hours, rss, 1), None
    left = rss - (growth * hours + start)
    error = np.sqrt(np.sum(left**2) / (len(hours) - 2) / np.sum((hours - hours.mean()) ** 2))
    return float(growth), float(error)
