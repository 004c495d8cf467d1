"""The worker process: a Faust app that supervises the lanes, serves metrics and publishes snapshots.

Faust's own consumer stays off: its way of committing loses messages when an agent raises (see
docs/adr/0001-two-engines.md). What it is good at is kept: lifecycle, supervision, timers, the web server.
"""

import gc
import logging
import os
import socket
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import faust
from faust.app.base import BootStrategy
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from config import Settings
from stream.codec import image_decoder, post_decoder
from stream.control import Control
from stream.lane import Lane
from stream.lane_spec import LaneSpec
from stream.metrics import Exposition, LaneMetrics
from stream.process import EXIT_FAILED, EXIT_USAGE, run_app
from stream.reports import Reports
from stream.topics import TopicNames
from stream.watch import StreamWatch, Watched
from stream.watchdog import Watchdog
from workers.base import Controllable, Worker

logger = logging.getLogger(__name__)

EXIT_LIMIT_S: Final = 5.0
"""For the interpreter to end once the app has: it waits for the model's thread, which may hang."""

GC_ALLOCATIONS: Final = 200_000
"""Container allocations between two collections of the youngest generation; Python's default is 700."""

SWITCH_INTERVAL_S: Final = 0.001
"""After which a thread that computes lets another one go on; Python's default is five times that."""

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
            review=topics.review,
            dead_letters=topics.dead_letters,
            event_type="feedsight.label.v1",
            decode=post_decoder(settings.lane.unknown_fields),
            max_batch_items=settings.text.max_batch_items,
            max_batch_cost=settings.text.max_batch_tokens,
            batch_deadline_s=settings.text.batch_deadline_ms / 1_000,
            target_latency_s=settings.text.target_latency_ms / 1_000 or None,
        )
    return LaneSpec(
        name=name,
        source=topics.images,
        sink=topics.matches,
        review=topics.review,
        dead_letters=topics.dead_letters,
        event_type="feedsight.match.v1",
        decode=image_decoder(settings.image.max_bytes),
        max_batch_items=settings.image.max_batch_items,
        max_batch_cost=settings.image.max_batch_pixels,
        batch_deadline_s=settings.image.batch_deadline_ms / 1_000,
        target_latency_s=settings.image.target_latency_ms / 1_000 or None,
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
    reports = Reports(settings, name)
    app.service(reports)
    for lane_name, worker in workers.items():
        control = _control(lane_name, worker, settings, reports)
        if control is not None:
            app.service(control)
        metrics = LaneMetrics(lane_name, name, exposition)
        watch = None
        if isinstance(worker, Watched):
            watch = StreamWatch(settings, lane_name, worker, exposition, partial(reports.event, lane_name))
        spec = lane_spec(lane_name, settings)
        reports.lanes.append(Lane(spec, worker, settings, metrics, watchdog, control=control, watch=watch))
    lanes = reports.lanes
    for lane in lanes:
        app.service(lane)
    _add_pages(app, exposition, lanes)
    app.lanes = lanes
    return app


def _control(
    lane: str, worker: Worker[Any, Any, Any], settings: Settings, reports: Reports
) -> Control | None:
    """What keeps a worker's labels or references; None for a worker whose never change."""
    if not isinstance(worker, Controllable):
        return None
    names = TopicNames(settings.topics.prefix)
    topic = names.label_sets if lane == "text" else names.references
    return Control(settings.kafka, topic, worker, partial(reports.applied, lane))


def _topics(settings: Settings, workers: dict[str, Worker[Any, Any, Any]]) -> list[str]:
    """The topics that the lanes read and write."""
    names = TopicNames(settings.topics.prefix)
    needed = [names.metrics]
    for lane, worker in workers.items():
        spec = lane_spec(lane, settings)
        needed += [spec.source, spec.sink, spec.review, spec.dead_letters]
        if isinstance(worker, Controllable):
            needed.append(names.label_sets if lane == "text" else names.references)
    return needed


def run(settings: Settings, workers: dict[str, Worker[Any, Any, Any]]) -> int:
    """Run the worker process until SIGTERM, SIGINT or a fatal error.

    Returns:
        The exit status: EXIT_OK after a drain, EXIT_FAILED or EXIT_USAGE after a fatal error.
    """
    tune_collector()
    ended = run_app(
        settings,
        _topics(settings, workers),
        lambda: create_app(settings, workers),
        exit_limit_s=EXIT_LIMIT_S,
    )
    for name, fatal in [(lane.spec.name, lane.why_ended) for lane in ended.app.lanes] if ended.app else []:
        if fatal is not None:
            sys.stderr.write(f"feedsight: {name}: {fatal.detail}\n")
            return EXIT_USAGE if fatal.reason in USAGE_REASONS else EXIT_FAILED
    return ended.status


def tune_collector() -> None:
    """Make Python's cyclic garbage collector run more rarely, and its threads take turns more often.

    Messages are many and short-lived, and hold no cycles: collecting as often as Python would costs a
    third of the engine's time. What is loaded by now lives as long as the process.

    The event loop lets go of the interpreter whenever it waits for the broker, and gets it back after the
    switch interval at the latest, while the lane's other threads compute. A transaction waits five times.
    """
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, 50, 50)
    sys.setswitchinterval(SWITCH_INTERVAL_S)


def _add_pages(app: FeedsightApp, exposition: Exposition, lanes: Sequence[Lane]) -> None:
    """Serve /metrics for Prometheus and /health for orchestrators."""

    @app.page("/metrics")  # type: ignore[untyped-decorator]
    async def metrics(web: Any, _request: Any) -> Any:
        # aiohttp refuses a content_type with a charset, so it goes in as a header.
        return web.bytes(generate_latest(exposition.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    @app.page("/health")  # type: ignore[untyped-decorator]
    async def health(web: Any, _request: Any) -> Any:
        state = {lane.spec.name: lane.state for lane in lanes}
        healthy = all(value in ("running", "joining", "waiting") for value in state.values())
        return web.json(state, status=200 if healthy else 503)
