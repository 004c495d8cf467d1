"""`feedsight feedback`: say what a post is, so that labels learn it."""

import asyncio
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import ConfigOption, KafkaOption, fail, hush_client_logs, read_settings

if TYPE_CHECKING:
    from schemas import Feedback


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("feedback")(feedback)


def feedback(
    post: Annotated[
        str,
        typer.Argument(
            metavar="POST_ID|FILE.jsonl", help="A post's id; or a file of corrections; - is stdin."
        ),
    ],
    label: Annotated[str | None, typer.Argument(help="What the post is.")] = None,
    none: Annotated[bool, typer.Option("--none", help="It is none of the labels.")] = False,
    name: Annotated[str | None, typer.Option(help="The label set; needed where there are several.")] = None,
    text: Annotated[
        str | None, typer.Option(help="The post's text; looked up among the items under review otherwise.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Who says so; left out, the user's name.")] = None,
    kafka: KafkaOption = None,
    config: ConfigOption = None,
    prefix: Annotated[str | None, typer.Option("--prefix", help="Prefix of the topics.")] = None,
) -> None:
    """Send corrections: one, or a file of JSON lines with id, label, and what else is known (name, text, by).

    Where `feedsight worker learn` runs, they become examples; a version that measures better is published.

    Exit status: 0 all sent, 1 a line is no correction or the broker doesn't answer, 2 usage.

    Examples:
      feedsight feedback t-2110 infrastructure --name crisis

      feedsight feedback t-2111 --none --text "win a new phone"

      feedsight feedback corrections.jsonl
    """
    hush_client_logs()
    settings = read_settings(config, {"kafka": {"bootstrap": kafka}, "topics": {"prefix": prefix}})
    who = by if by is not None else _user()
    from stream.client import Outgoing, Publisher
    from stream.topics import TopicNames
    from workers.errors import PipelineError

    wrong: list[str] = []
    if label is None and not none:
        given = _lines(post, name, who, wrong)
    elif label is not None and none:
        raise fail("a label and --none contradict each other", 2)
    else:
        given = iter([_one(post, label, name, text, who)])
    topic = TopicNames(settings.topics.prefix).feedback

    async def send() -> int:
        async with Publisher(settings.kafka) as publisher:
            return await publisher.publish(topic, (Outgoing(one.id.encode(), one.to_json()) for one in given))

    try:
        count = asyncio.run(send())
    except PipelineError as error:
        raise fail(error.detail) from error
    for line in wrong:
        typer.echo(f"feedsight: {line}", err=True)
    typer.echo(f"{count} correction{'s' if count != 1 else ''} sent to {topic}", err=True)
    raise typer.Exit(1 if wrong else 0)


def _one(post_id: str, label: str | None, name: str | None, text: str | None, who: str | None) -> "Feedback":
    from pydantic import ValidationError

    from schemas import Feedback

    now = datetime.now(UTC).isoformat(timespec="seconds")
    facts = {"id": post_id, "label": label, "name": name, "text": text, "by": who, "at": now}
    try:
        return Feedback.model_validate(
            {key: value for key, value in facts.items() if value or key == "label"}
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise fail(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", 2) from error


def _lines(file: str, name: str | None, who: str | None, wrong: list[str]) -> "Iterator[Feedback]":
    """Read corrections line by line; what is none is told in `wrong` and passed over."""
    from stream.learner_memory import read_feedback
    from workers.errors import MessageError

    if file != "-" and not Path(file).is_file():
        raise fail(f"{file}: no such file; to correct one post, give its label too, or --none", 2)
    with sys.stdin.buffer if file == "-" else Path(file).open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                found = read_feedback(line.strip())
            except MessageError as error:
                wrong.append(f"{file}, line {number}: {error.detail}")
                continue
            changes = {}
            if name is not None and found.name is None:
                changes["name"] = name
            if who is not None and found.by is None:
                changes["by"] = who
            yield found.model_copy(update=changes)


def _user() -> str | None:
    try:
        return getuser()
    except (KeyError, OSError):  # a container's user without a name
        return None
