"""`feedsight topics`: create and check the topics."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import ConfigOption, KafkaOption, fail, hush_client_logs, read_settings, status_of

if TYPE_CHECKING:
    from config import Settings

PartitionsOption = Annotated[
    int | None, typer.Option("--partitions", help="Of each topic that carries traffic.")
]
ReplicationOption = Annotated[
    int | None, typer.Option("--replication", help="Copies kept of each partition.")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    topics = typer.Typer(help="Create and check the topics.", no_args_is_help=True)

    @topics.command()
    def create(
        kafka: KafkaOption = None,
        partitions: PartitionsOption = None,
        replication: ReplicationOption = None,
        config: ConfigOption = None,
    ) -> None:
        """Create the topics that are missing; running it again changes nothing.

        Example: feedsight topics create --kafka 127.0.0.1:9092 --partitions 8
        """
        _create(_settings(config, kafka, partitions, replication))

    @topics.command()
    def check(
        kafka: KafkaOption = None, partitions: PartitionsOption = None, config: ConfigOption = None
    ) -> None:
        """List the topics; exit status 1 where one is missing or has another number of partitions.

        Example: feedsight topics check --kafka 127.0.0.1:9092
        """
        _check(_settings(config, kafka, partitions, None))

    app.add_typer(topics, name="topics")


def _settings(
    config: Path | None, kafka: str | None, partitions: int | None, replication: int | None
) -> "Settings":
    hush_client_logs()
    return read_settings(
        config,
        {"kafka": {"bootstrap": kafka}, "topics": {"partitions": partitions, "replication": replication}},
    )


def _create(settings: "Settings") -> None:
    from stream.topics import create_topics
    from workers.errors import PipelineError

    try:
        created = asyncio.run(create_topics(settings.kafka, settings.topics))
    except PipelineError as error:
        raise fail(error.detail, status_of(error)) from error
    for name in created:
        typer.echo(f"created {name}")
    if not created:
        typer.echo("all topics are there", err=True)


def _check(settings: "Settings") -> None:
    from stream.topics import check_topics
    from workers.errors import PipelineError

    try:
        states = asyncio.run(check_topics(settings.kafka, settings.topics))
    except PipelineError as error:
        raise fail(error.detail, status_of(error)) from error
    width = max(len(state.spec.name) for state in states)
    for state in states:
        count = "1 partition" if state.partitions == 1 else f"{state.partitions} partitions"
        found = state.problem or f"{count}, {state.spec.cleanup}"
        mark = "✗" if state.problem else "✓"
        typer.echo(f"{mark} {state.spec.name:<{width}}  {found:<34}  {state.spec.purpose}")
    if any(state.problem for state in states):
        raise typer.Exit(1)
