"""Watching a process from outside while it works off a topic: its rate, its processor time, its memory.

What is counted is what a subscriber would see. A worker of ours commits its input offsets in the transaction
of its results, so these count; of a peer, which has no transactions, the records on its output topic count.
"""

import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import psutil
from confluent_kafka import Consumer, KafkaException, TopicPartition

SAMPLE_S: Final = 0.05
PATIENCE_S: Final = 60.0
"""How long after the window the answer that ends it is waited for: some answer hundreds at a time."""

START_LIMIT_S: Final = 180.0
"""The longest a contestant may take to its first result: it may have to import torch."""


@dataclass(frozen=True)
class Window:
    """When to measure.

    Attributes:
        warmup_s: after the first result, before measuring.
        seconds: how long.
        total: inputs on the topic; with 98 % of them done it ends early.
    """

    warmup_s: float
    seconds: float
    total: int


class Counter:
    """Counts answered inputs, by the offsets a group committed or by an output topic's records.

    Args:
        bootstrap: the broker's address.
        topic: the input topic where `group` is given, else the output topic.
        group: whose commits count.
    """

    def __init__(self, bootstrap: str, topic: str, group: str | None = None) -> None:
        self._topic = topic
        self._by_commits = group is not None
        self._client: Any = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": group or "feedsight-bench",
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        self._partitions: list[TopicPartition] = []

    def count(self) -> int:
        """How many so far; 0 as long as there is no such topic."""
        try:
            if not self._partitions:
                found = self._client.list_topics(self._topic, timeout=5).topics[self._topic].partitions
                self._partitions = [TopicPartition(self._topic, number) for number in found]
            if self._by_commits:
                committed = self._client.committed(self._partitions, timeout=5)
                return sum(max(0, one.offset) for one in committed)
            marks = (self._client.get_watermark_offsets(one, timeout=5) for one in self._partitions)
            return sum(high - low for low, high in marks)
        except KafkaException:
            return 0

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()


class Child:
    """A contestant's process, its words kept for when it fails.

    Args:
        command: with the program first.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        self.started = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603 - our own command line
            list(command), stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )

    def check(self) -> None:
        """Find out whether it still runs.

        Raises:
            RuntimeError: it ended; with the end of what it said.
        """
        if self._process.poll() is not None:
            raise RuntimeError(f"ended with status {self._process.returncode}: {self._last_words()}")

    def processes(self) -> list[psutil.Process]:
        """The process and those it started."""
        try:
            first = psutil.Process(self._process.pid)
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def end(self) -> None:
        """Stop it, by force where it takes more than ten seconds."""
        family = self.processes()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for process in family[1:]:
            if process.is_running():
                process.kill()
        self._log.close()

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return " / ".join(lines[-2:])[-600:]


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """Processor time that processes took so far, in user and kernel mode."""
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def resident_bytes(processes: Sequence[psutil.Process]) -> int:
    """Memory that processes hold; what they share counts for each."""
    total = 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def watch(child: Child, counter: Counter, window: Window, broker_pid: int | None = None) -> dict[str, float]:
    """Wait for the first result and the warm-up, then measure.

    Args:
        child: at work on the topic.
        counter: of its answers; what was there before does not count.
        window: when to measure.
        broker_pid: the broker's process, where its processor time is to be told.

    Returns:
        per_s, cpu_us (of the child, for each input), first_result_s, resident_mb, broker_cores.

    Raises:
        RuntimeError: it ended, or gave no result in time.
    """
    before = counter.count()
    while (count := counter.count() - before) <= 0:
        child.check()
        if time.monotonic() - child.started > START_LIMIT_S:
            raise RuntimeError("no result in time")
        time.sleep(SAMPLE_S)
    first_result_s = time.monotonic() - child.started
    end_of_warmup = time.monotonic() + window.warmup_s
    while time.monotonic() < end_of_warmup:
        time.sleep(SAMPLE_S)
    family = child.processes()
    broker = [psutil.Process(broker_pid)] if broker_pid is not None else []
    began, first = _next_answer(child, counter)
    cpu, broker_cpu = cpu_seconds(family), cpu_seconds(broker)
    resident = 0
    now, last = began, first
    while now - began < window.seconds and last - before < 0.98 * window.total:
        time.sleep(SAMPLE_S)
        child.check()
        count = counter.count()
        if count > last:  # an answer is counted when it is committed, so the clock stops with one
            now, last = time.monotonic(), count
        elif time.monotonic() - began > window.seconds + PATIENCE_S:
            break
        resident = max(resident, resident_bytes(family))
    seconds, done = now - began, last - first
    if done <= 0 or seconds <= 0:
        raise RuntimeError("too few inputs for the window: give more of them")
    return {
        "per_s": done / seconds,
        "cpu_us": (cpu_seconds(family) - cpu) / done * 1e6,
        "first_result_s": first_result_s,
        "resident_mb": resident / 1e6,
        **({"broker_cores": (cpu_seconds(broker) - broker_cpu) / seconds} if broker else {}),
    }


def _next_answer(child: Child, counter: Counter) -> tuple[float, int]:
    """Wait until the count rises: answers come many at a time, and the clock starts and stops with them."""
    before = counter.count()
    for _ in range(int(START_LIMIT_S / SAMPLE_S)):
        time.sleep(SAMPLE_S)
        child.check()
        if (count := counter.count()) > before:
            return time.monotonic(), count
    raise RuntimeError("no further result in time")
