"""`feedsight demo`: watch posts being labelled and images matched, without Docker, Java or network."""

import asyncio
import contextlib
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.options import fail, hush_client_logs, read_settings

if TYPE_CHECKING:
    from cli.showcase.play import Plan, Player
    from cli.showcase.story import Story
    from config import KafkaSettings, TopicSettings

EXAMPLES: Final = """Examples:

  feedsight demo

  feedsight demo --seconds 60 --rate 50

  feedsight demo --kafka 127.0.0.1:9092
"""

EMBEDDED_LIMIT: Final = 500.0
"""Posts a second on the embedded broker: it keeps 5 MiB a partition and drops the oldest without a word."""

EMBEDDED_WAIT_MS: Final = 20
"""The embedded broker answers a fetch without data only after this long, whatever comes meanwhile."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo", epilog=EXAMPLES)(demo)


def demo(
    kafka: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Run on this Kafka, under topics of its own that are deleted at the end. "
            "Left out, a broker runs inside this process.",
        ),
    ] = None,
    rate: Annotated[float, typer.Option(min=0.1, help="Posts a second.")] = 8.0,
    seconds: Annotated[
        float | None, typer.Option(min=1, help="Play this long; left out, the story is played once.")
    ] = None,
    burst: Annotated[int, typer.Option(min=0, help="Posts sent all at once at the end.")] = 1_000,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A settings file (YAML), for --kafka.")
    ] = None,
    examples: Annotated[Path | None, typer.Option(help="A folder of examples like ours.")] = None,
) -> None:
    """Watch a storm break into a football match: posts labelled, circuit boards checked, rubbish set aside.

    Real workers run as child processes on a broker inside this one.

    The exit status is 0 when every input had exactly one answer, 1 when not.

    """
    from cli.showcase.play import Plan
    from cli.showcase.story import load_story
    from workers.errors import PipelineError

    hush_client_logs()
    if kafka is None and rate > EMBEDDED_LIMIT:
        raise fail(f"the embedded broker takes up to {EMBEDDED_LIMIT:.0f} posts/s; use --kafka for more", 2)
    try:
        story = load_story(examples or _examples())
        with contextlib.ExitStack() as stack:
            logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="feedsight-demo-")))
            settings, topics = stack.enter_context(_broker(kafka, config))
            own = kafka is not None
            plan = Plan(rate, seconds, burst, own_settings=own, config=config if own else None, logs=logs)
            status = asyncio.run(_play(story, settings, topics, plan))
    except PipelineError as error:
        raise fail(error.detail) from error
    raise typer.Exit(status)


def _examples() -> Path:
    """Find the examples: beside the code, or where we stand (as in the image)."""
    for folder in (Path(__file__).parents[1] / "examples", Path.cwd() / "examples"):
        if (folder / "storm").is_dir():
            return folder
    raise fail("no folder `examples` here: run it in a checkout, or give --examples", 2)


@contextlib.contextmanager
def _broker(kafka: str | None, config: Path | None) -> "Iterator[tuple[KafkaSettings, TopicSettings]]":
    """Give a broker with empty topics: an embedded one, or the user's under a prefix of its own."""
    from config import KafkaSettings, TopicSettings
    from stream.topics import TopicNames, create_topics, delete_topics

    if kafka is None:
        from stream.embedded import EmbeddedBroker

        with EmbeddedBroker() as broker:
            topics = TopicSettings()
            broker.create_topics(TopicNames(topics.prefix).specs(topics.partitions))
            kafka_settings = KafkaSettings(
                bootstrap=broker.bootstrap, check_crcs=False, fetch_max_wait_ms=EMBEDDED_WAIT_MS
            )
            yield kafka_settings, topics
        return
    name = f"feedsight-demo-{secrets.token_hex(3)}"
    settings = read_settings(
        config, {"kafka": {"bootstrap": kafka, "group": name}, "topics": {"prefix": f"{name}."}}
    )
    asyncio.run(create_topics(settings.kafka, settings.topics))
    try:
        yield settings.kafka, settings.topics
    finally:
        asyncio.run(delete_topics(settings.kafka, settings.topics))


async def _play(story: "Story", kafka: "KafkaSettings", topics: "TopicSettings", plan: "Plan") -> int:
    from cli.showcase.play import Player
    from cli.showcase.report import LineReporter, LiveReporter, summary
    from cli.showcase.screen import View
    from cli.showcase.tally import Tally
    from stream.topics import TopicNames

    kind = "your Kafka" if plan.own_settings else "embedded Kafka"
    tally = Tally(TopicNames(topics.prefix), {})
    waiting = {"text": "starting", "image": "starting"}
    view = View(
        story.title,
        f"{kind} {kafka.bootstrap}",
        story.label_names(),
        tally,
        "starting",
        time.time(),
        waiting,
        [item.about for item in story.posts],
    )
    reporter = LiveReporter() if sys.stdout.isatty() else LineReporter()
    with reporter:
        player = Player(story, kafka, topics, plan, view, reporter)
        _stop_on_signals(player)
        await player.play()
    typer.echo(summary(view, player.published, embedded=not plan.own_settings))
    return 0 if tally.unanswered == tally.doubled == 0 and tally.sent == player.published else 1


def _stop_on_signals(player: "Player") -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, player.stopping.set)
