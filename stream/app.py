"""The worker process: a Faust app that supervises the lanes, serves metrics and publishes snapshots.

Faust's own consumer stays off: its way of committing loses messages when an agent raises (see
docs/adr/0001-two-engines.md). What it is good at is kept: lifecycle, supervision, timers, the web server.
"""

import asyncio
import gc
import logging
import os
import socket
import sys
from collections.abc import Sequence
from typing import Any, Final

import faust
import mode
import uvloop
from aiokafka.errors import KafkaError
from faust.app.base import BootStrategy
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from config import Settings
from stream import clients
from stream.codec import image_decoder, post_decoder
from stream.lane import Lane, LaneSpec
from stream.metrics import Exposition, LaneMetrics
from stream.topics import TopicNames
from stream.watchdog import Watchdog
from workers.base import Worker

logger = logging.getLogger(__name__)

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
"""The worker could not go on; an orchestrator should start it again."""
EXIT_USAGE: Final = 2
"""Settings, labels or references are wrong; starting again won't help."""

GC_ALLOCATIONS: Final = 200_000
"""Container allocations between two collections of the youngest generation; Python's default is 700."""

USAGE_REASONS: Final = frozenset({"configuration", "model_load", "index_mismatch"})


class LanesOnly(BootStrategy):  # type: ignore[misc]
    """Boots sensors, web and services; no Faust consumer, no Faust producer."""

    enable_kafka = False


class FeedsightApp(faust.App):  # type: ignore[misc]
    """A Faust app that keeps nothing on disk."""

    BootStrategy = LanesOnly

    def _create_directories(self) -> None:
        """Faust would make folders for tables; there are none."""


def lane_spec(name: str, settings: Settings) -> LaneSpec:
    """Say what the lane `text` or `image` moves."""
    topics = TopicNames(settings.topics.prefix)
    if name == "text":
        return LaneSpec(
            name=name,
            source=topics.posts,
            sink=topics.labels,
            dead_letters=topics.dead_letters,
            event_type="feedsight.label.v1",
            decode=post_decoder(settings.lane.unknown_fields),
            max_batch_items=settings.text.max_batch_items,
            max_batch_cost=settings.text.max_batch_tokens,
            batch_deadline_s=settings.text.batch_deadline_ms / 1_000,
        )
    return LaneSpec(
        name=name,
        source=topics.images,
        sink=topics.matches,
        dead_letters=topics.dead_letters,
        event_type="feedsight.match.v1",
        decode=image_decoder(settings.image.max_bytes),
        max_batch_items=settings.image.max_batch_items,
        max_batch_cost=settings.image.max_batch_pixels,
        batch_deadline_s=settings.image.batch_deadline_ms / 1_000,
    )


def create_app(settings: Settings, workers: dict[str, Worker[Any, Any, Any]]) -> FeedsightApp:
    """Build the app; nothing connects before it starts.

    Args:
        settings: all settings.
        workers: by lane name, loaded and warm.
    """
    exposition = Exposition()
    name = f"{socket.gethostname()}-{os.getpid()}"
    app = FeedsightApp(
        settings.kafka.group,
        broker=f"kafka://{settings.kafka.bootstrap.split(',')[0]}",
        store="memory://",
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=settings.metrics.port > 0,
        web_bind=settings.metrics.host,
        web_host=settings.metrics.host,
        web_port=settings.metrics.port or 6_066,
        web_tables_enabled=False,
        web_router_enabled=False,
    )
    # One process has one timer that can end it: lanes of a process share their watchdog.
    watchdog = Watchdog(settings.lane.watchdog_s)
    lanes = [
        Lane(lane_spec(lane, settings), worker, settings, LaneMetrics(lane, name, exposition), watchdog)
        for lane, worker in workers.items()
    ]
    for lane in lanes:
        app.service(lane)
    app.service(Snapshots(settings, lanes))
    _add_pages(app, exposition, lanes)
    app.lanes = lanes
    return app


def run(settings: Settings, workers: dict[str, Worker[Any, Any, Any]]) -> int:
    """Run the worker process until SIGTERM, SIGINT or a fatal error.

    Returns:
        The exit status: EXIT_OK after a drain, EXIT_FAILED or EXIT_USAGE after a fatal error.
    """
    tune_collector()
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    app = create_app(settings, workers)
    process = faust.Worker(
        app, loop=loop, loglevel="WARNING", redirect_stdouts=False, quiet=True, override_logging=False
    )
    process.spinner = None  # it would write cursor escapes into logs
    try:
        process.execute_from_commandline()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else EXIT_FAILED
    except Exception:
        status = EXIT_FAILED
    for lane in app.lanes:
        if lane.fatal is not None:
            sys.stderr.write(f"feedsight: {lane.spec.name}: {lane.fatal.detail}\n")
            return EXIT_USAGE if lane.fatal.reason in USAGE_REASONS else EXIT_FAILED
    return status


def tune_collector() -> None:
    """Make Python's cyclic garbage collector run more rarely.

    Messages are many and short-lived, and hold no cycles: collecting as often as Python would costs a
    third of the engine's time. What is loaded by now lives as long as the process.
    """
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, 50, 50)


class Snapshots(mode.Service):  # type: ignore[misc]
    """Publishes a snapshot of each lane and interval on the metrics topic."""

    def __init__(self, settings: Settings, lanes: Sequence[Lane], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._settings = settings
        self._lanes = lanes
        self._topic = TopicNames(settings.topics.prefix).metrics

    @mode.Service.task  # type: ignore[untyped-decorator]
    async def _publish(self) -> None:
        producer = None
        while not self.should_stop:
            await self.sleep(self._settings.metrics.interval_s)
            snapshots = [lane.snapshot() for lane in self._lanes]
            try:
                if producer is None:
                    producer = clients.idempotent_producer(self._settings.kafka)
                    await producer.start()
                for snapshot in snapshots:
                    await producer.send_and_wait(
                        self._topic, snapshot.to_json(), key=f"{snapshot.worker}.{snapshot.lane}".encode()
                    )
            except (KafkaError, OSError) as error:  # results matter, snapshots can wait
                logger.warning("no snapshot was published: %s", error)
                if producer is not None:
                    await clients.stop_quietly(producer)
                producer = None
        if producer is not None:
            await clients.stop_quietly(producer)


def _add_pages(app: FeedsightApp, exposition: Exposition, lanes: Sequence[Lane]) -> None:
    """Serve /metrics for Prometheus and /health for orchestrators."""

    @app.page("/metrics")  # type: ignore[untyped-decorator]
    async def metrics(web: Any, _request: Any) -> Any:
        # aiohttp refuses a content_type with a charset, so it goes in as a header.
        return web.bytes(generate_latest(exposition.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    @app.page("/health")  # type: ignore[untyped-decorator]
    async def health(web: Any, _request: Any) -> Any:
        state = {lane.spec.name: lane.state for lane in lanes}
        healthy = all(value in ("running", "joining") for value in state.values())
        return web.json(state, status=200 if healthy else 503)
