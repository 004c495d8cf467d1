"""The learner's process: a Faust app whose one agent takes corrections in.

The agent keeps to what was found to lose nothing: raw bytes, one at a time, acknowledged when taken in, and
an error that nobody expects ends the process, for an orchestrator to start again.
"""

import logging
import os
import socket
from typing import Any, Final

import faust
import mode
from faust.app.base import BootStrategy

from config import KafkaSettings, Settings
from stream.app import FeedsightApp
from stream.client import incoming
from stream.connection import client_options
from stream.learner import Learner
from stream.process import run_app
from stream.topics import TopicNames
from workers.text.lane import Encode

logger = logging.getLogger(__name__)

GROUP: Final = ".learn"
"""After the group's prefix."""

EXIT_LIMIT_S: Final = 30.0
"""A thread that still measures is not waited for longer."""

NEVER_S: Final = 1e6
"""Past max_poll_interval aiokafka leaves the group for good (aiokafka#1187)."""


class LearnerApp(FeedsightApp):
    """A Faust app with Faust's own consumer, which the lanes do without: corrections are few."""

    BootStrategy = BootStrategy
    learner: Learner


def create_learner_app(settings: Settings, encode: Encode) -> LearnerApp:
    """Build the app; nothing connects before it starts.

    Args:
        settings: all settings.
        encode: embeds texts.
    """
    app = LearnerApp(
        settings.kafka.group + GROUP,
        broker=[f"kafka://{address.strip()}" for address in settings.kafka.bootstrap.split(",")],
        broker_credentials=_credentials(settings.kafka),
        broker_check_crcs=settings.kafka.check_crcs,
        broker_max_poll_interval=NEVER_S,
        broker_max_poll_records=100,
        broker_session_timeout=settings.kafka.session_timeout_ms / 1_000,
        broker_heartbeat_interval=settings.kafka.heartbeat_interval_ms / 1_000,
        broker_request_timeout=max(settings.kafka.request_timeout_ms, settings.kafka.session_timeout_ms)
        / 1_000,
        producer_request_timeout=60,
        consumer_auto_offset_reset="earliest",
        store="memory://",
        topic_disable_leader=True,
        topic_allow_declare=False,
        table_standby_replicas=0,
        stream_buffer_maxsize=100,
        web_enabled=False,
    )
    app.learner = Learner(settings, encode, f"{socket.gethostname()}-{os.getpid()}")
    app.service(app.learner)
    topic = TopicNames(settings.topics.prefix).feedback
    feedback = app.topic(
        topic,
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
    )

    @app.on_partitions_assigned.connect(weak=False)  # type: ignore[untyped-decorator]
    async def assigned(_app: Any, assigned: Any, **_: Any) -> None:
        app.learner.lead(any(place.topic == topic for place in assigned))

    @app.on_partitions_revoked.connect(weak=False)  # type: ignore[untyped-decorator]
    async def revoked(_app: Any, revoked: Any, **_: Any) -> None:
        if any(place.topic == topic for place in revoked):
            app.learner.lead(False)

    @app.agent(feedback, concurrency=1, supervisor_strategy=mode.CrashingSupervisor)  # type: ignore[untyped-decorator]
    async def corrections(stream: Any) -> None:
        async for event in stream.noack().events():
            await app.learner.take(incoming(event.message))
            if event.message.generation_id == app.consumer_generation_id:
                await stream.ack(event)

    return app


def run_learner(settings: Settings, encode: Encode) -> int:
    """Run the learner until SIGTERM, SIGINT or an error that it can't go on after.

    Returns:
        The exit status, as of stream.app.run.
    """
    ended = run_app(settings, (), lambda: create_learner_app(settings, encode), exit_limit_s=EXIT_LIMIT_S)
    if ended.error is not None:
        logger.error("the learner ended", exc_info=ended.error)
    return ended.status


def _credentials(settings: KafkaSettings) -> Any:
    """The connection's security, in Faust's words; None without any."""
    options = client_options(settings)
    context = options.get("ssl_context")
    if settings.sasl_mechanism is not None:
        # without a context Faust would speak in the clear; the settings refuse that unless it was asked for
        return faust.SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=settings.sasl_mechanism,
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context is not None else None
