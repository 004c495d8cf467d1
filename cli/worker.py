"""`feedsight worker`: a worker process for posts, images or both."""

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from cli.options import hush_client_logs

if TYPE_CHECKING:
    from config import Settings
    from workers.base import Worker

QUIET_LOGGERS: Final = ("faust", "mode", "aiohttp.access", "faiss", "openvino")
"""Libraries whose INFO lines say nothing to who runs a worker."""

EXAMPLES: Final = """Examples:

  feedsight worker text --kafka localhost:9092 --labels config/labels/news_topics.yaml

  feedsight worker image --mode defect --references good_parts/ --kafka localhost:9092

  feedsight worker text --processes 4 --kafka localhost:9092 --labels config/labels/news_topics.yaml

  feedsight worker learn --kafka localhost:9092

  feedsight worker all --config feedsight.yaml
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("worker", epilog=EXAMPLES)(worker)


def worker(
    lane: Annotated[
        Literal["text", "image", "all", "learn"],
        typer.Argument(help="What to work on; learn turns corrections into new versions of label sets."),
    ],
    kafka: Annotated[str | None, typer.Option(help="Brokers, HOST:PORT, several joined by commas.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file (YAML).")] = None,
    labels: Annotated[Path | None, typer.Option(help="Label-set file to start with.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Text model: sentence, static, cascade, a name or folder.")
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="Image mode: similarity, defect, compare, signature, uniqueness.")
    ] = None,
    references: Annotated[Path | None, typer.Option(help="Folder or manifest of references.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Image score from which the verdict turns.")] = None,
    allow_folder: Annotated[
        list[Path] | None, typer.Option(help="Folder that claim checks may point into.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Prefix of the consumer group and transactional ids.")
    ] = None,
    prefix: Annotated[str | None, typer.Option(help="Prefix of the topics.")] = None,
    delivery: Annotated[
        Literal["exactly_once", "at_least_once"] | None, typer.Option(help="What is promised.")
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="Port of /metrics and /health on loopback; 0 is off.")
    ] = None,
    processes: Annotated[
        int, typer.Option(help="Worker processes in the same group, started again when they fall.", min=1)
    ] = 1,
    threads: Annotated[
        int | None,
        typer.Option(help="Threads of the model; 0 takes all cores. Processes share them out.", min=0),
    ] = None,
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"],
        typer.Option(case_sensitive=False, help="What is logged, on stderr."),
    ] = "INFO",
) -> None:
    """Label posts and match images from Kafka until told to stop.

    SIGTERM finishes what is in flight. The exit status is 0 after that, 1 when the worker could not go on and
    should be started again, 2 when settings, labels or references are wrong. With several processes, one that
    falls is started again, and each has its metrics on a port of its own, from --metrics-port upwards; no
    more can work than the topic has partitions.
    """
    # Its threads spin for a while after each small product, on cores that others need: 85 µs of CPU a post
    # in the static lane, with one thread 49. Read once, when numpy is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from config import SettingsError, load_settings

    logging.basicConfig(
        level=log_level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    hush_client_logs()  # the lane reports what matters, once
    for noisy in QUIET_LOGGERS:
        logging.getLogger(noisy).setLevel("WARNING")
    try:
        settings = load_settings(
            config,
            {
                "kafka": {"bootstrap": kafka, "group": group},
                "topics": {"prefix": prefix},
                "lane": {"delivery": delivery},
                "text": {
                    "labels": labels,
                    "model": model if lane != "image" else None,
                    "threads": threads,
                },
                "image": {
                    "threads": threads,
                    "mode": mode,
                    "references": references,
                    "threshold": threshold,
                    "model": model if lane == "image" else None,
                    "allowed_folders": tuple(allow_folder) if allow_folder else None,
                },
                "metrics": {"port": metrics_port},
            },
        )
    except SettingsError as error:
        _refuse(str(error))
    if processes > 1:
        raise typer.Exit(_lead(processes, lane, settings))
    raise typer.Exit(_run(lane, settings))


def _lead(processes: int, lane: str, settings: "Settings") -> int:
    """Run several worker processes; this one only looks after them."""
    from cli.crew import lead
    from workers.cores import available_cores

    section = settings.image if lane == "image" else settings.text
    threads = section.threads or available_cores()
    return lead(processes, sys.argv[1:], threads=threads, metrics_port=settings.metrics.port)


def _run(lane: str, settings: "Settings") -> int:
    from workers.errors import FatalError

    workers: dict[str, Worker[Any, Any, Any]] = {}
    try:
        if lane == "learn":
            from cli.learn import learn

            return learn(settings)
        if lane in ("text", "all"):
            from stream.topics import TopicNames
            from workers.text.worker import create_text_worker

            workers["text"] = create_text_worker(
                settings.text, live=True, taken=TopicNames(settings.topics.prefix).all()
            )
        if lane in ("image", "all"):
            from workers.image.worker import create_image_worker

            workers["image"] = create_image_worker(settings.image)
        for worker in workers.values():
            worker.load()
    except FatalError as error:
        _refuse(error.detail)
    _announce(settings, workers)
    from stream.app import run

    return run(settings, workers)


def _announce(settings: "Settings", workers: "Mapping[str, Worker[Any, Any, Any]]") -> None:
    """Say what is loaded and where it goes on, for a person who looks on."""
    log = logging.getLogger("feedsight")
    for name, worker in workers.items():
        log.info("%s worker: %s, version %s", name, worker.model, worker.version)
        for campaign in getattr(worker, "campaigns", ()):
            rule = campaign.label_set.abstain
            if rule is not None and rule.coverage is not None:
                log.warning(
                    "abstain.coverage can't be kept on a stream, so every post gets a label; use threshold"
                )
    log.info("Kafka at %s, topics %s*", settings.kafka.bootstrap, settings.topics.prefix)
    if settings.metrics.port:
        log.info("/metrics and /health at http://%s:%d", settings.metrics.host, settings.metrics.port)


def _refuse(detail: str) -> None:
    sys.stderr.write(f"feedsight: {detail}\n")
    raise typer.Exit(2)
