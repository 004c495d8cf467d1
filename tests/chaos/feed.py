"""A producer with a recorded history: of each post and image it says ok, failed or unknown.

It is confluent-kafka's, not ours, and runs in a thread of its own.
"""

import random
import threading
import time
from array import array
from dataclasses import dataclass, field
from typing import Any

import orjson
from confluent_kafka import KafkaException, Producer

from tests.chaos.worker import HUGE, RAISES

TICK_S = 0.05
DELIVERY_TIMEOUT_MS = 20_000
"""After that nobody knows whether the broker has a message: its history says `unknown`."""

WORDS = ("goal", "storm", "vote", "market", "rain", "penalty", "recount", "flood", "derby", "rally")

MALFORMED = (
    b"{not json",
    b'{"id": "x", "text": "\xff\xfe"}',
    b'{"id": "x", "text": 7}',
    b'{"id": "x", "text": "fine", "txet": "?"}',
    b'{"id": "x", "text": "  "}',
    None,
)
BIG_MALFORMED_BYTES = 1_048_400
"""As much as a broker takes; with a dead letter's facts it is too much."""


@dataclass
class History:
    """What became of everything that was sent. Counts, and what the broker acknowledged by partition."""

    sent: int = 0
    ok: int = 0
    failed: int = 0
    unknown: int = 0
    acked: dict[tuple[str, int], "array[int]"] = field(default_factory=dict)
    """Offsets that the broker acknowledged, by topic and partition."""
    ends: dict[tuple[str, int], int] = field(default_factory=dict)
    """The highest acknowledged offset + 1, by topic and partition."""


class Feed:
    """Sends posts and images at a rate until it is stopped or all are sent.

    Args:
        bootstrap: the broker.
        posts: the topic of posts.
        images: the topic of images.
        partitions: of both.
        seed: draws texts and bad messages.
        rate: messages a second.
        total: posts to send, not counting those of which nobody knows.
        image_share: images for each post.
        bad_share: malformed posts for each post.
    """

    def __init__(
        self,
        bootstrap: str,
        posts: str,
        images: str,
        *,
        partitions: int,
        seed: int,
        rate: float,
        total: int,
        image_share: float = 0.05,
        bad_share: float = 0.001,
    ) -> None:
        self.history = History()
        self.rate = rate
        self.total = total
        self._posts = posts
        self._images = images
        self._partitions = partitions
        self._random = random.Random(seed)
        self._image_share = image_share
        self._bad_share = bad_share
        self._poison = True
        self._number = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "linger.ms": 20,
                "message.timeout.ms": DELIVERY_TIMEOUT_MS,
                "message.max.bytes": 2_000_000,
                "queue.buffering.max.messages": 200_000,
                "socket.keepalive.enable": True,
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
            }
        )
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    @property
    def done(self) -> bool:
        """Whether all posts went out, and what became of them is known."""
        return not self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Send no more, and wait until it is known what became of everything."""
        self._stopping.set()
        self._thread.join(120)

    def pause_poison(self) -> None:
        """Send nothing that ends in a dead letter."""
        self._poison = False

    def resume_poison(self) -> None:
        self._poison = True

    def poison(self, count: int) -> None:
        """Malformed messages of all kinds, and posts that make the model raise, all at once."""
        for n in range(count):
            self._send(self._posts, MALFORMED[n % len(MALFORMED)])
        for n in range(max(1, count // 20)):
            self._send_post(f"{RAISES} {n}")

    def oversize(self) -> None:
        """A post with a huge answer, and a malformed one that fits the topic but not with its facts."""
        self._send_post(HUGE)
        self._send(self._posts, b"{" + b"x" * BIG_MALFORMED_BYTES)

    def ends(self) -> dict[tuple[str, int], int]:
        """Acknowledged ends by topic and partition."""
        return dict(self.history.ends)

    def _run(self) -> None:
        due = 0.0
        last = time.monotonic()
        while not self._stopping.is_set() and self._number - self.history.unknown < self.total:
            now = time.monotonic()
            due = min(
                due + (now - last) * self.rate, self.rate
            )  # a broker that was away is no reason to rush
            last = now
            for _ in range(int(due)):
                self._send_next()
            due -= int(due)
            self._producer.poll(0)
            self._stopping.wait(TICK_S)
        while self._producer.flush(1.0):
            pass

    def _send_next(self) -> None:
        self._send_post(f"{self._random.choice(WORDS)} {self._random.randrange(100_000)}")
        if self._random.random() < self._image_share:
            content = self._random.randbytes(200)
            self._send(self._images, content, headers=[("content-type", b"image/png")])
        if self._poison and self._random.random() < self._bad_share:
            self._send(self._posts, self._random.choice(MALFORMED))

    def _send_post(self, text: str) -> None:
        self._number += 1
        body = orjson.dumps({"id": f"p{self._number:08d}", "text": text})
        self._send(self._posts, body)

    def _send(self, topic: str, value: bytes | None, headers: list[tuple[str, bytes]] | None = None) -> None:
        partition = self._random.randrange(self._partitions)
        with self._lock:
            self.history.sent += 1
            key = b"%09d" % self.history.sent
        while True:
            try:
                self._producer.produce(
                    topic,
                    value,
                    key=key,
                    partition=partition,
                    headers=headers or [],
                    on_delivery=self._delivered,
                )
                return
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException:
                with self._lock:
                    self.history.failed += 1
                return

    def _delivered(self, error: Any, message: Any) -> None:
        history = self.history
        with self._lock:
            if error is None:
                where = (message.topic(), message.partition())
                history.ok += 1
                history.acked.setdefault(where, array("q")).append(message.offset())
                history.ends[where] = max(history.ends.get(where, 0), message.offset() + 1)
            elif error.name() in ("_MSG_TIMED_OUT", "_TIMED_OUT", "REQUEST_TIMED_OUT", "_PURGE_INFLIGHT"):
                history.unknown += 1
            else:
                history.failed += 1
