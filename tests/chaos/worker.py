"""A worker process that obeys: `python -m tests.chaos.worker SETTINGS_JSON`, then a command a line on stdin.

Both lanes run with models that cost next to nothing and answer the same to the same input, so that a checker
that knows nothing of them can say what the answer must be. When stdin ends, the process kills itself: no
worker outlives its runner.

    die POINT       SIGKILL itself when it next passes a point of the delivery (see POINTS)
    hang            the next inference never returns
    gil SECONDS     the next inference holds the interpreter's lock
    slow SECONDS    each batch takes that long; 0 ends it
    busy SECONDS    the model says that it may work later, for that long
    clock SECONDS   the wall clock jumps, for all of the process
"""

import ctypes
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
import zlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

_now = time.time
_jump = [0.0]
time.time = lambda: _now() + _jump[0]  # before anybody else takes a reference to it

import orjson  # noqa: E402
from aiokafka import AIOKafkaProducer  # noqa: E402

from config import load_settings  # noqa: E402
from schemas import Candidate, ImageMessage, ImageResult, Post, TextResult  # noqa: E402
from stream import app  # noqa: E402
from stream.claims import Claims  # noqa: E402
from stream.delivery import PartitionDelivery  # noqa: E402
from stream.transactions import TransactionalOutlet  # noqa: E402
from workers.base import Applied, Change  # noqa: E402
from workers.errors import PipelineError, TransientError  # noqa: E402

LABELS = ("zero", "one", "two", "three", "four", "five", "six", "seven")
RAISES = "this makes the model raise"
HUGE = "this gets a huge answer"
HUGE_CHARS = 1_200_000
"""More than a broker takes (1,048,588 bytes)."""


def label_of(text: str) -> str:
    """What the model answers; the checker computes it again."""
    return LABELS[zlib.crc32(text.encode()) % len(LABELS)]


class Mood:
    """What the next inference does; both lanes share it."""

    def __init__(self) -> None:
        self.hang = False
        self.gil_s = 0.0
        self.slow_s = 0.0
        self.busy_until = 0.0

    def weigh(self) -> None:
        """Called in each inference, in the model's thread."""
        if self.hang:
            threading.Event().wait()
        if self.gil_s:
            micros, self.gil_s = int(self.gil_s * 1e6), 0.0
            ctypes.PyDLL(None).usleep(micros)  # PyDLL keeps the lock, as a careless extension would
        if self.slow_s:
            time.sleep(self.slow_s)
        if time.monotonic() < self.busy_until:
            raise TransientError("the model is busy")


class Instructed:
    """Reads its control topic, which changes nothing: a checksum is a checksum."""

    ready = True

    def __init__(self) -> None:
        self.in_force: dict[str, str] = {}

    def apply_changes(self, changes: Sequence[Change]) -> list[Applied]:
        for change in changes:
            self.in_force[change.key] = str(change.timestamp_ms)
        return [Applied(change.key, str(change.timestamp_ms)) for change in changes]


class ChaosText(Instructed):
    """Labels a post by a checksum of its text."""

    model = "checksum"
    version = "1"

    def __init__(self, mood: Mood) -> None:
        super().__init__()
        self._mood = mood

    def load(self) -> None:
        return

    def cost(self, message: Post) -> int:
        return len(message.text)

    def prepare(self, batch: Sequence[Post]) -> Sequence[Post]:
        return batch

    def run(self, prepared: Sequence[Post | PipelineError]) -> Sequence[TextResult | PipelineError]:
        self._mood.weigh()
        return [self._answer(post) for post in prepared if isinstance(post, Post)]

    def _answer(self, post: Post) -> TextResult:
        if post.text.startswith(RAISES):
            raise ValueError("the model can't take this")
        label = label_of(post.text)
        name = label if not post.text.startswith(HUGE) else label + "!" * HUGE_CHARS
        return TextResult(
            id=post.id,
            label=label,
            candidates=(Candidate(label=name, probability=1.0),),
            model=self.model,
            label_set="chaos",
            version=self.version,
        )


class ChaosImages(Instructed):
    """Judges an image by a checksum of its bytes."""

    model = "checksum"
    version = "1"

    def __init__(self, mood: Mood) -> None:
        super().__init__()
        self._mood = mood

    def load(self) -> None:
        return

    def cost(self, message: ImageMessage) -> int:
        return 1

    def prepare(self, batch: Sequence[ImageMessage]) -> Sequence[ImageMessage]:
        return batch

    def run(self, prepared: Sequence[ImageMessage | PipelineError]) -> Sequence[ImageResult | PipelineError]:
        self._mood.weigh()
        return [self._answer(image) for image in prepared if isinstance(image, ImageMessage)]

    def _answer(self, image: ImageMessage) -> ImageResult:
        score = zlib.crc32(image.content or b"") % 1_000 / 1_000
        return ImageResult(
            id=image.id,
            mode="similarity",
            verdict="match" if score >= 0.5 else "no_match",
            score=score,
            model=self.model,
            gallery="chaos",
            version=self.version,
            width=1,
            height=1,
        )


class Fuses:
    """Kills the process at a point of the delivery, once it is told to."""

    def __init__(self) -> None:
        self.armed: str | None = None

    def burn(self, point: str) -> None:
        if self.armed == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(self, owner: type, name: str, point: str) -> None:
        original: Callable[..., Any] = getattr(owner, name)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            self.burn(point)
            return original(*arguments, **named)

        setattr(owner, name, wrapped)

    def after(self, owner: type, name: str, point: str) -> None:
        original: Callable[..., Awaitable[Any]] = getattr(owner, name)

        async def wrapped(*arguments: Any, **named: Any) -> Any:
            outcome = await original(*arguments, **named)
            self.burn(point)
            return outcome

        setattr(owner, name, wrapped)

    def install(self) -> None:
        for point, (when, owner, name) in POINTS.items():
            (self.before if when == "before" else self.after)(owner, name, point)


POINTS: dict[str, tuple[str, type, str]] = {
    "after fetch, before inference": ("before", ChaosText, "run"),
    "step 1: answers ready": ("before", PartitionDelivery, "_deliver"),
    "step 3: before the transaction": ("before", AIOKafkaProducer, "begin_transaction"),
    "step 3: before sending": ("before", AIOKafkaProducer, "send_batch"),
    "step 3: after sending": ("after", AIOKafkaProducer, "send_batch"),
    "step 3: before the offset": ("before", AIOKafkaProducer, "send_offsets_to_transaction"),
    "step 3: after the offset": ("after", AIOKafkaProducer, "send_offsets_to_transaction"),
    "step 3: before the commit": ("before", AIOKafkaProducer, "commit_transaction"),
    "step 3: after the commit": ("after", AIOKafkaProducer, "commit_transaction"),
    "claiming: before the former writer is fenced": ("before", Claims, "_fence"),
    "claiming: after it is fenced": ("after", Claims, "_fence"),
    "claiming: after a claim": ("after", Claims, "_claim"),
    "step 4: before the fence": ("before", TransactionalOutlet, "open"),
    "step 4: after the fence": ("after", TransactionalOutlet, "open"),
    "step 5: before it is said": ("after", TransactionalOutlet, "write"),
    "letting go": ("before", TransactionalOutlet, "close"),
}
"""Where a worker can be made to die; steps 4 and `letting go` come at the next rebalance or error."""


def obey(mood: Mood, fuses: Fuses) -> None:
    """Read commands until stdin ends."""
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        if command == "die":
            fuses.armed = argument
        elif command == "hang":
            mood.hang = True
        elif command == "gil":
            mood.gil_s = float(argument)
        elif command == "slow":
            mood.slow_s = float(argument)
        elif command == "busy":
            mood.busy_until = time.monotonic() + float(argument)
        elif command == "clock":
            _jump[0] = float(argument)
    os.kill(os.getpid(), signal.SIGKILL)


def main(settings_json: str) -> int:
    faulthandler.register(signal.SIGUSR1)
    logging.basicConfig(
        level="INFO", stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for noisy in ("faust", "mode", "aiokafka"):
        logging.getLogger(noisy).setLevel("CRITICAL")
    settings = load_settings(None, orjson.loads(settings_json), {})
    mood, fuses = Mood(), Fuses()
    fuses.install()
    threading.Thread(target=obey, args=(mood, fuses), name="obey", daemon=True).start()
    return app.run(settings, {"text": ChaosText(mood), "image": ChaosImages(mood)})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
