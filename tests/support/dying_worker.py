"""A worker process that kills itself at one point: `python -m tests.support.dying_worker POINT ARGS`.

The points are those between the numbered steps of stream/delivery.py and inside its transaction.
"""

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka import AIOKafkaProducer

from config import load_settings
from stream import app
from stream.claims import Claims
from stream.delivery import PartitionDelivery
from tests.support.workers import EchoWorker

CHUNKS_BEFORE = 3
"""Chunks that are committed before the worker dies, so that it dies in the middle of its work."""


CLAIMS = 4
"""Transactions that claim the four partitions come first."""


class Fuse:
    """Kills the process when it has burnt down."""

    def __init__(self, calls: int = CHUNKS_BEFORE) -> None:
        self._left = calls

    def burn(self) -> None:
        self._left -= 1
        if self._left < 0:
            os.kill(os.getpid(), signal.SIGKILL)


def before(owner: type, name: str, calls: int = CHUNKS_BEFORE) -> None:
    """Die after so many calls of a method, before the next."""
    original: Callable[..., Any] = getattr(owner, name)
    fuse = Fuse(calls)

    def wrapped(*arguments: Any, **named: Any) -> Any:
        fuse.burn()
        return original(*arguments, **named)

    setattr(owner, name, wrapped)


def after(owner: type, name: str, calls: int = CHUNKS_BEFORE) -> None:
    """Die after so many calls of a coroutine method, and the next."""
    original: Callable[..., Awaitable[Any]] = getattr(owner, name)
    fuse = Fuse(calls)

    async def wrapped(*arguments: Any, **named: Any) -> Any:
        outcome = await original(*arguments, **named)
        fuse.burn()
        return outcome

    setattr(owner, name, wrapped)


POINTS: dict[str, Callable[[], None]] = {
    "claiming, before the third claim": lambda: before(Claims, "_claim", 2),
    "claiming, after the third claim": lambda: after(Claims, "_claim", 2),
    "claiming, in a claim's transaction": lambda: after(AIOKafkaProducer, "send_offsets_to_transaction", 2),
    "after fetch, before inference": lambda: before(EchoWorker, "run"),
    "after inference, before the transaction": lambda: before(PartitionDelivery, "_deliver"),
    "in the transaction, before sending": lambda: before(AIOKafkaProducer, "send_batch"),
    "in the transaction, after sending": lambda: after(AIOKafkaProducer, "send_batch"),
    "in the transaction, after the offset": lambda: after(
        AIOKafkaProducer, "send_offsets_to_transaction", CLAIMS + CHUNKS_BEFORE
    ),
    "before the commit": lambda: before(AIOKafkaProducer, "commit_transaction", CLAIMS + CHUNKS_BEFORE),
    "after the commit": lambda: after(AIOKafkaProducer, "commit_transaction", CLAIMS + CHUNKS_BEFORE),
}


def main(point: str, bootstrap: str, group: str, prefix: str) -> int:
    settings = load_settings(
        None,
        {
            "kafka": {"bootstrap": bootstrap, "group": group, "session_timeout_ms": 6_000},
            "topics": {"prefix": prefix},
            "text": {"max_batch_items": 50},
            "lane": {"max_transaction_items": 50},
            "metrics": {"port": 0},
        },
        {},
    )
    if point in POINTS:
        POINTS[point]()
    return app.run(settings, {"text": EchoWorker()})


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:5]))
