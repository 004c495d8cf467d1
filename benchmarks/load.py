"""What a worker does under load, on a real Kafka: memory, queue, lag, and the answers to each message.

    python benchmarks/load.py burst [--rate 400] [--seconds 30] [--burst 60]
    python benchmarks/load.py soak [--rate 400] [--minutes 60]
    python benchmarks/load.py slow
    python benchmarks/load.py huge

`burst`: the usual rate, ten times of it for a minute, the usual again. `soak`: the usual rate for long, after
the caches are full; the slope of the memory. `slow`: a model that is much too slow for its feed. `huge`:
messages just under and over each limit of size, with small ones between them.

A broker of its own is started unless `--kafka HOST:PORT` names one. The reader counts answers by key and
is no part of the worker. Exit status 1: a message was lost or answered twice.
"""

import argparse
import asyncio
import random
import socket
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.load_run import Load, Sample, WorkerProcess, slope
from config import Settings, load_settings
from stream.app import run as run_worker
from stream.local_kafka import LocalKafka, find_kafka_home
from stream.topics import create_topics
from workers.errors import PipelineError
from workers.text.instant import InstantModel
from workers.text.parse import MAX_POST_BYTES

ROOT: Final = Path(__file__).resolve().parents[1]
LABELS: Final = ROOT / "config" / "labels" / "news_topics.yaml"
TEXT: Final = ("-c", "from cli.main import main; main()", "worker", "text", "--labels", str(LABELS))

REMEMBERED: Final = 50_000
"""Posts whose answers a text worker remembers: before so many, its memory has to grow."""

SLOW_S: Final = 0.001
"""Of the slow model, for each post: it manages 1,000 a second."""


class SlowModel(InstantModel):
    """Takes its time."""

    model = "slow"

    def run(self, prepared: Any) -> Any:
        """One result for each post, late."""
        time.sleep(SLOW_S * len(prepared))
        return super().run(prepared)


def post(number: int) -> tuple[bytes, bytes]:
    """A post of its own, about 140 bytes; each tenth says what another has said."""
    said = number if number % 10 else number // 1_000
    words = random.Random(said).choices(WORDS, k=16)
    return b"p%d" % number, orjson.dumps({"id": f"p{number}", "text": " ".join(words) + f" {said}"})


WORDS: Final = (
    "goal", "match", "minister", "storm", "market", "shares", "rate", "comet", "telescope", "court", "budget",
    "strike", "harbour", "river", "relay", "team", "price", "profit", "chip", "phone", "border", "talks",
)  # fmt: skip


def settings_of(bootstrap: str, **sections: Any) -> Settings:
    """Topics and a group of this run alone."""
    name = f"load{uuid.uuid4().hex[:8]}."
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return load_settings(
        None,
        {
            "kafka": {"bootstrap": bootstrap, "group": name + "g"},
            "topics": {"prefix": name},
            "metrics": {"port": port},
            **sections,
        },
    )


@contextmanager
def broker(named: str | None, folder: Path) -> Iterator[str]:
    """The broker that was named, or one of our own."""
    if named is not None:
        yield named
        return
    home = find_kafka_home()
    if home is None:
        raise SystemExit("no Kafka: name one by --kafka, or set FEEDSIGHT_KAFKA_HOME")
    kafka = LocalKafka(home, folder, {"log.retention.bytes": str(2**30), "log.segment.bytes": str(2**27)})
    kafka.start()
    try:
        yield kafka.bootstrap
    finally:
        kafka.kill()


def tell(name: str, samples: list[Sample]) -> None:
    """One line on a phase."""
    seconds = samples[-1].at_s - samples[0].at_s
    rss = [s.rss_mb for s in samples]
    print(
        f"{name:<22} {seconds:7.0f} s  sent {(samples[-1].sent - samples[0].sent) / seconds:8.0f}/s  "
        f"answered {(samples[-1].answered - samples[0].answered) / seconds:8.0f}/s  "
        f"behind max {max(s.sent - s.answered for s in samples):8,}  "
        f"in flight max {np.nanmax([s.in_flight for s in samples]):7,.0f} = "
        f"{np.nanmax([s.queue_mb for s in samples]):5.1f} MiB  "
        f"memory {rss[0]:.0f} → {rss[-1]:.0f}, max {np.nanmax(rss):.0f} MiB",
        flush=True,
    )


async def phase(load: Load, name: str, work: Coroutine[Any, Any, Any]) -> list[Sample]:
    """Do it, and tell what was seen meanwhile."""
    first = len(load.samples)
    started = time.monotonic()
    await work
    found = load.samples[first:]
    if len(found) > 1:
        tell(name, found)
    else:
        print(f"{name:<22} {time.monotonic() - started:7.1f} s", flush=True)
    return found


def verdict(load: Load, status: int) -> bool:
    """Tell the count; whether all is well."""
    ledger = load.ledger
    print(
        f"sent {ledger.sent:,}: results {ledger.results:,}, dead letters {ledger.letters:,}, "
        f"lost {ledger.lost}, double {ledger.double}; worker ended with {status}",
        flush=True,
    )
    if status:
        print(load.log(), file=sys.stderr)
    return not ledger.lost and not ledger.double and status == 0


async def burst(bootstrap: str, folder: Path, options: argparse.Namespace) -> bool:
    """The usual rate, ten times of it, the usual again."""
    settings = settings_of(bootstrap)
    await create_topics(settings.kafka, settings.topics)
    worker = WorkerProcess((*TEXT, "--model", options.model), settings, folder / "worker.log")
    async with Load(settings, worker, post).running() as load:
        await phase(load, "start", warm(load))
        await phase(load, "usual", load.send(options.rate, options.seconds))
        await phase(load, "ten times", load.send(10 * options.rate, options.burst))
        await phase(load, "usual again", load.send(options.rate, options.seconds))
        await phase(load, "nothing behind after", load.until_answered())
    return verdict(load, worker.stop())


async def warm(load: Load) -> None:
    """Send a little, and wait until the worker is there."""
    await load.send(50, 1)
    await load.until_answered()


async def soak(bootstrap: str, folder: Path, options: argparse.Namespace) -> bool:
    """The usual rate for long; memory is looked at once the caches are full."""
    settings = settings_of(bootstrap)
    await create_topics(settings.kafka, settings.topics)
    worker = WorkerProcess((*TEXT, "--model", options.model), settings, folder / "worker.log")
    async with Load(settings, worker, post).running() as load:
        await phase(load, "start", warm(load))
        await phase(load, "filling the caches", load.send(2_000, 1.5 * REMEMBERED / 2_000))
        await load.until_answered()
        samples: list[Sample] = []
        for part in range(options.minutes):
            samples += await phase(load, f"minute {part + 1}", load.send(options.rate, 60))
        await phase(load, "nothing behind after", load.until_answered())
    for name, part_ in (("all", samples), ("second half", samples[len(samples) // 2 :])):
        growth, error = slope(part_)
        print(f"memory, {name}: {growth:+.1f} ± {error:.1f} MiB an hour over {len(part_) / 60:.0f} minutes")
    return verdict(load, worker.stop())


async def slow(bootstrap: str, folder: Path, _: argparse.Namespace) -> bool:
    """A feed of four times what the model manages, with a queue of 2,000 or 1 MiB."""
    settings = settings_of(bootstrap)
    await create_topics(settings.kafka, settings.topics)
    limits = {"FEEDSIGHT_LANE__MAX_QUEUE_ITEMS": "2000", "FEEDSIGHT_LANE__MAX_QUEUE_BYTES": str(2**20)}
    worker = WorkerProcess((__file__, "slow-worker"), settings, folder / "worker.log", **limits)
    async with Load(settings, worker, post).running() as load:
        await phase(load, "start", warm(load))
        await phase(load, "four times too much", load.send(4 / SLOW_S, 20))
        await phase(load, "nothing behind after", load.until_answered())
    return verdict(load, worker.stop())


def sized(size: int) -> Callable[[int], tuple[bytes, bytes]]:
    """Posts of so many bytes."""

    def make(number: int) -> tuple[bytes, bytes]:
        head = orjson.dumps({"id": f"p{number}", "text": ""})[:-2]
        return b"p%d" % number, head + b"x" * (size - len(head) - 2) + b'"}'

    return make


async def huge(bootstrap: str, folder: Path, options: argparse.Namespace) -> bool:
    """Posts just under and over the limit of posts, and up to what the broker takes, between small ones."""
    settings = settings_of(bootstrap)
    await create_topics(settings.kafka, settings.topics)
    worker = WorkerProcess((*TEXT, "--model", options.model), settings, folder / "worker.log")
    broker_limit = 1_048_588 - 150  # message.max.bytes, less the batch's header, key and field lengths
    sizes = [MAX_POST_BYTES - 1, MAX_POST_BYTES, MAX_POST_BYTES + 1, 900_000, 1_000_000, broker_limit]
    makers = [sized(size) for size in sizes]

    def mixed(number: int) -> tuple[bytes, bytes]:
        return makers[number // 10 % len(makers)](number) if number % 10 == 0 else post(number)

    async with Load(settings, worker, mixed).running() as load:
        await phase(load, "start", warm(load))
        await phase(load, "a tenth is huge", load.send(50, 20))
        await phase(load, "nothing behind after", load.until_answered())
    print(f"sizes {', '.join(f'{size:,}' for size in sizes)} bytes; posts are taken up to {MAX_POST_BYTES:,}")
    return verdict(load, worker.stop())


SCENARIOS: Final = {"burst": burst, "soak": soak, "slow": slow, "huge": huge}


def main() -> int:
    """Run one."""
    if sys.argv[1:] == ["slow-worker"]:
        return run_worker(load_settings(), {"text": SlowModel()})
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--kafka", metavar="HOST:PORT")
    parser.add_argument("--model", default="static")
    parser.add_argument("--rate", type=float, default=400)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--burst", type=float, default=60)
    parser.add_argument("--minutes", type=int, default=60)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="load-") as folder,
        broker(options.kafka, Path(folder)) as bootstrap,
    ):
        try:
            return 0 if asyncio.run(SCENARIOS[options.scenario](bootstrap, Path(folder), options)) else 1
        except (RuntimeError, TimeoutError, PipelineError):
            log = Path(folder) / "worker.log"
            print(log.read_text(errors="replace")[-4_000:] if log.exists() else "", file=sys.stderr)
            raise


if __name__ == "__main__":
    sys.exit(main())
