"""From produce to a committed result in a subscriber's hands, at a share of what a lane can do."""

import random
import threading
import time
import uuid
from dataclasses import replace
from typing import Any, Final

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition
from numpy.typing import NDArray

from stream.bench.lanes import Bench, new_prefix, worker_command
from stream.bench.observe import START_LIMIT_S, Child
from stream.bench.pictures import pictures
from stream.bench.posts import posts

TICK_S: Final = 0.001
POLL_S: Final = 0.1
PATIENCE_S: Final = 20.0
"""How long after the last input results are waited for."""

Times = NDArray[np.float64]


class Subscriber(threading.Thread):
    """Reads committed results and notes when each came.

    Args:
        bootstrap: the broker's address.
        topic: of results; each has its input's key, a number.
        count: how many are to come.
    """

    def __init__(self, bootstrap: str, topic: str, count: int) -> None:
        super().__init__(daemon=True)
        self.came: Times = np.zeros(count)
        self.seen = 0
        self._over = threading.Event()
        self._consumer: Any = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "feedsight-bench",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 100,
                "allow.auto.create.topics": True,
                "log_level": 0,
            }
        )
        while not (partitions := self._consumer.list_topics(topic, timeout=10).topics[topic].partitions):
            time.sleep(0.05)  # the topic is just being made
        self._consumer.assign([TopicPartition(topic, number, 0) for number in partitions])

    def run(self) -> None:
        """Read until told to stop."""
        while not self._over.is_set():
            # `consume` waits for a thousand records or its timeout: a result would be seen up to that late.
            first = self._consumer.poll(POLL_S)
            now = time.perf_counter()
            for record in [first, *self._consumer.consume(1_000, timeout=0)] if first is not None else []:
                key = record.key()
                if record.error() is None and key is not None and not self.came[int(key)]:
                    self.came[int(key)] = now
                    self.seen += 1
        self._consumer.close()

    def stop(self) -> None:
        """End the thread."""
        self._over.set()
        self.join(10)


def latency(bench: Bench, model: str, rates: dict[str, float], *more: str) -> dict[str, dict[str, float]]:
    """Measure a worker at several rates, one after the other, posts arriving at random (Poisson).

    Args:
        bench: broker and inputs; the topics are new ones.
        model: the lane's.
        rates: inputs a second, by name.
        more: for the worker's command line.

    Returns:
        For each name: per_s, p50_ms, p99_ms, longest_ms, of results that came after the warm-up; missing, how
        many did not come.

    Raises:
        RuntimeError: the worker ended, or gives no result.
    """
    fresh = replace(bench, prefix=new_prefix())
    counts = {
        name: int(rate * (bench.window.warmup_s + bench.window.seconds)) for name, rate in rates.items()
    }
    texts = _values(fresh, 1 + sum(counts.values()))
    producer = Producer({"bootstrap.servers": bench.bootstrap, "linger.ms": 0, "acks": "all", "log_level": 0})
    producer.produce(fresh.topic, value=texts[0], key=b"0")  # makes the topic, and warms all up
    producer.flush(30)
    sink = fresh.prefix + ("labels" if bench.lane == "text" else "matches")
    producer.list_topics(sink, timeout=10)
    child = Child(worker_command(fresh, model, f"g-{uuid.uuid4().hex[:8]}", *more))
    try:
        subscriber = _first_result(child, fresh.bootstrap, sink, len(texts))
        found, first = {}, 1
        for name, rate in rates.items():
            values = range(first, first + counts[name])
            first += counts[name]
            found[name] = _at_rate(producer, subscriber, fresh, [(n, texts[n]) for n in values], rate, child)
        subscriber.stop()
        return found
    finally:
        child.end()


def _first_result(child: Child, bootstrap: str, sink: str, count: int) -> Subscriber:
    subscriber = Subscriber(bootstrap, sink, count)
    subscriber.start()
    while not subscriber.seen:
        child.check()
        if time.monotonic() - child.started > START_LIMIT_S:
            raise RuntimeError("no result in time")
        time.sleep(0.05)
    return subscriber


def _at_rate(
    producer: Any,
    subscriber: Subscriber,
    bench: Bench,
    values: list[tuple[int, bytes]],
    rate: float,
    child: Child,
) -> dict[str, float]:
    """Send at random moments, `rate` a second on average; wait for the results."""
    random_ = random.Random(rate)  # noqa: S311 - no secret
    gaps = np.cumsum([random_.expovariate(rate) for _ in values])
    headers = [("content-type", b"image/jpeg")] if bench.lane == "image" else None
    sent = np.zeros(len(values))
    done = 0
    began = time.perf_counter()
    while done < len(values):
        due = int(np.searchsorted(gaps, time.perf_counter() - began, side="right"))
        for place in range(done, due):
            number, value = values[place]
            sent[place] = time.perf_counter()
            producer.produce(bench.topic, value=value, key=str(number).encode(), headers=headers)
        done = due
        producer.poll(0)
        time.sleep(TICK_S)
    took_s = time.perf_counter() - began
    producer.flush(30)
    child.check()
    first, last = values[0][0], values[-1][0] + 1
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and not subscriber.came[first:last].all():
        time.sleep(0.05)
    came = subscriber.came[first:last]
    counted = (gaps >= bench.window.warmup_s) & (came > 0)
    if not counted.any():
        raise RuntimeError("no results came")
    took_ms = (came[counted] - sent[counted]) * 1_000
    p50, p99 = np.percentile(took_ms, [50, 99])
    return {
        "per_s": len(values) / took_s,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "longest_ms": float(took_ms.max()),
        "missing": float((came == 0).sum()),
    }


def _values(bench: Bench, count: int) -> list[bytes]:
    if bench.lane == "text":
        return [sent.value for sent in posts(count, bench.inputs)]
    held = pictures(128, bench.inputs)
    return [held[number % len(held)] for number in range(count)]
