"""Whole lanes on a broker, as `feedsight worker` runs them, beside what one would write otherwise."""

import asyncio
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from config import KafkaSettings
from stream.bench import engine
from stream.bench.contest import Contestant
from stream.bench.observe import Child, Counter, Window, watch
from stream.bench.pictures import pictures
from stream.bench.posts import posts

TEXT_PEERS: Final = ("aiokafka", "faust", "faust-take", "faststream")
IMAGE_PEERS: Final = ("eager-each", "eager-batches")
GUESSED_RATE: Final = {"static": 40_000, "cascade": 12_000, "sentence": 2_500, "similarity": 500}
"""Inputs a second that no two cores exceed; so many are put on the topic for each second of the window."""

WORKER: Final = (sys.executable, "-c", "from cli.main import main; main()", "worker")


@dataclass(frozen=True)
class Bench:
    """What all contestants of a run share.

    Attributes:
        bootstrap: the broker's address.
        prefix: of the topics; the inputs lie on one of them.
        lane: `text` or `image`.
        window: when to measure.
        labels: the label-set file.
        inputs: posts as JSON Lines, or a folder of pictures; drawn ones where it is left out.
        gallery: folder of references; with the image lane.
        broker_pid: where the broker is ours.
    """

    bootstrap: str
    prefix: str
    lane: Literal["text", "image"]
    window: Window
    labels: Path
    inputs: Path | None = None
    gallery: Path | None = None
    broker_pid: int | None = None

    @property
    def topic(self) -> str:
        """The input topic."""
        return self.prefix + ("posts" if self.lane == "text" else "images")


def new_prefix() -> str:
    """A prefix that no other run has."""
    return f"bench-{uuid.uuid4().hex[:8]}."


def fill(bench: Bench) -> None:
    """Write the inputs, evenly over the partitions.

    Raises:
        ValueError: the file or folder holds none.
    """
    asyncio.run(engine.fill(KafkaSettings(bootstrap=bench.bootstrap), bench.topic, _inputs(bench)))


def worker_command(bench: Bench, model: str, group: str, *more: str) -> list[str]:
    """`feedsight worker` with everything on; its metrics on a port of its own."""
    command = [*WORKER, bench.lane, "--kafka", bench.bootstrap, "--group", group, "--prefix", bench.prefix]
    command += ["--metrics-port", str(_free_port()), "--log-level", "WARNING"]
    if bench.lane == "text":
        command += ["--labels", str(bench.labels), "--model", model]
    elif bench.gallery is not None:
        command += ["--mode", model, "--references", str(bench.gallery)]
    return [*command, *more]


def ours(bench: Bench, model: str, *more: str, name: str | None = None) -> Contestant:
    """A lane of ours; `more` is added to its command line."""

    def run() -> dict[str, float]:
        group = f"g-{uuid.uuid4().hex[:8]}"
        counter = Counter(bench.bootstrap, bench.topic, f"{group}.{bench.lane}")
        return _watched(bench, worker_command(bench, model, group, *more), counter)

    return Contestant(name or model, run)


def peer(bench: Bench, name: str) -> Contestant:
    """What one would write otherwise."""

    def run() -> dict[str, float]:
        sink = f"{bench.prefix}{name}-{uuid.uuid4().hex[:8]}"
        command = [
            sys.executable,
            "-m",
            f"stream.bench.{bench.lane}_peers",
            name,
            bench.bootstrap,
            bench.topic,
        ]
        command += [sink, *([str(bench.labels)] if bench.lane == "text" else [])]
        return _watched(bench, command, Counter(bench.bootstrap, sink))

    return Contestant(name, run)


def without_stream(bench: Bench, model: str, *, threads: int = 0, name: str | None = None) -> Contestant:
    """A model alone, in a process of its own; see stream.bench.models."""
    asked = {
        "kind": bench.lane,
        "model": model,
        "labels": str(bench.labels),
        "inputs": str(bench.inputs) if bench.inputs else None,
        "threads": threads,
        "warmup_s": bench.window.warmup_s,
        "seconds": bench.window.seconds,
    }

    def run() -> dict[str, float]:
        command = [sys.executable, "-m", "stream.bench.models", json.dumps(asked)]
        environment = {"OPENBLAS_NUM_THREADS": "1", **os.environ}  # as `feedsight worker` has it
        done = subprocess.run(  # noqa: S603 - ours
            command, capture_output=True, check=False, timeout=900, env=environment
        )
        lines = done.stdout.splitlines()
        if done.returncode or not lines:
            raise RuntimeError(f"{model}: {done.stderr[-300:].decode(errors='replace')}")
        figures: dict[str, float] = json.loads(lines[-1])
        return figures

    return Contestant(name or f"{model}, no stream", run)


def installed(name: str) -> bool:
    """Whether a peer can run here: FastStream is an extra, `pip install feedsight[peers]`."""
    return name != "faststream" or importlib.util.find_spec("faststream") is not None


def with_window(bench: Bench, model: str, *, warmup_s: float, seconds: float) -> Bench:
    """The same, with as many inputs as the fastest model can take in the time."""
    total = int(GUESSED_RATE.get(model, 3_000) * (warmup_s + seconds + 1))
    return replace(bench, window=Window(warmup_s, seconds, total))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _watched(bench: Bench, command: list[str], counter: Counter) -> dict[str, float]:
    child = Child(command)
    try:
        return watch(child, counter, bench.window, bench.broker_pid)
    finally:
        child.end()
        counter.close()
        time.sleep(0.5)  # what it held is given back before the next one starts


def _inputs(bench: Bench) -> Iterator[engine.Record]:
    if bench.lane == "text":
        for sent in posts(bench.window.total, bench.inputs):
            yield sent.key, sent.value, []
        return
    held = pictures(128, bench.inputs)
    for number in range(bench.window.total):
        yield str(number).encode(), held[number % len(held)], [("content-type", b"image/jpeg")]
