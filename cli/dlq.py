"""`feedsight dlq`: what could not be answered, and why; put aside to be corrected, or sent again."""

import asyncio
import sys
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from cli.options import ConfigOption, KafkaOption, fail, hush_client_logs, read_settings

if TYPE_CHECKING:
    from config import Settings
    from stream.letters import Letter, Selection

T = TypeVar("T")

PrefixOption = Annotated[str | None, typer.Option("--prefix", help="Prefix of the topics.")]
ReasonOption = Annotated[
    list[str] | None, typer.Option("--reason", metavar="REASON", help="Only with this reason; repeatable.")
]
LaneOption = Annotated[
    list[str] | None, typer.Option("--lane", metavar="text|image", help="Only of this lane; repeatable.")
]
SourceOption = Annotated[
    list[str] | None,
    typer.Option("--source", metavar="TOPIC", help="Only read from this topic (posts, images); repeatable."),
]
SinceOption = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Written since: 2h, 30m, 7d ago, or an ISO time (UTC)."),
]
UntilOption = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Written before: as for --since.")
]
IdOption = Annotated[
    list[str] | None,
    typer.Option("--id", metavar="ID", help="A letter (2@17), a key or a message's id; repeatable."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    dlq = typer.Typer(help="Look at dead letters, put them aside, send them again.", no_args_is_help=True)
    dlq.command("list")(list_letters)
    dlq.command("show")(show)
    dlq.command("replay")(replay)
    dlq.command("export")(export)
    app.add_typer(dlq, name="dlq")


def list_letters(
    kafka: KafkaOption = None,
    config: ConfigOption = None,
    prefix: PrefixOption = None,
    reason: ReasonOption = None,
    lane: LaneOption = None,
    source: SourceOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    ids: IdOption = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="The newest so many.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the dead letters there are, oldest first: where each was read, why it failed.

    Example: feedsight dlq list --kafka 127.0.0.1:9092 --since 2h

    Example: feedsight dlq list --reason not_json --reason schema --json
    """
    from cli.dlq_output import Newest, as_json_line, print_table

    settings = _settings(config, kafka, prefix)
    selection = _selection(reason, lane, source, since, until, ids)

    async def collect() -> Newest:
        from stream.letters import read_letters

        newest = Newest(limit)
        async for letter in read_letters(settings, selection):
            newest.add(letter)
        return newest

    newest = _run(collect())
    if as_json:
        for letter in newest.letters():
            sys.stdout.write(as_json_line(letter) + "\n")
    else:
        print_table(newest)


def show(
    identity: Annotated[str, typer.Argument(metavar="ID", help="A letter (2@17), a key or a message's id.")],
    kafka: KafkaOption = None,
    config: ConfigOption = None,
    prefix: PrefixOption = None,
    as_json: JsonOption = False,
    raw: Annotated[bool, typer.Option("--raw", help="Only the value, as it is, on standard output.")] = False,
) -> None:
    """Show a dead letter whole: facts, headers and value (text, hexadecimal, or what image it is).

    Exit status 1 where there is none.

    Example: feedsight dlq show 2@17

    Example: feedsight dlq show post-4711 --raw > post.json
    """
    from cli.dlq_output import print_letter

    settings = _settings(config, kafka, prefix)

    async def print_all() -> int:
        count = 0
        async for letter, value in _with_values(settings, _selection(ids=[identity])):
            count += 1
            if raw:
                sys.stdout.buffer.write(value or b"")
                break
            print_letter(letter, value, as_json=as_json)
        return count

    if not _run(print_all()):
        raise fail(f"there is no dead letter {identity}")


def replay(
    kafka: KafkaOption = None,
    config: ConfigOption = None,
    prefix: PrefixOption = None,
    reason: ReasonOption = None,
    lane: LaneOption = None,
    source: SourceOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    ids: IdOption = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="The first so many.")] = None,
    max_attempts: Annotated[
        int,
        typer.Option("--max-attempts", min=1, help="Pass over what was tried so often, replays included."),
    ] = 3,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be replayed; send nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Send dead letters to the topic they came from once more, each exactly once.

    Key, value and headers are the original's; the header dlq_attempt counts. A letter that was replayed is
    never replayed again, whichever run did it and however that ended; if its message fails again, that is a
    new letter. Of two replays at a time the one started last goes on. Needs a broker with transactions.

    Example: feedsight dlq replay --reason claim_check_unreachable --since 1d --dry-run

    Example: feedsight dlq replay --id 2@17
    """
    from cli.dlq_output import replayed_line, summary

    settings = _settings(config, kafka, prefix)
    selection = _selection(reason, lane, source, since, until, ids)

    def told(letter: "Letter", what: str) -> None:
        if as_json or dry_run:
            sys.stdout.write(replayed_line(letter, what, as_json=as_json, dry_run=dry_run) + "\n")

    async def send() -> dict[str, int]:
        from stream import resend

        return await resend.replay(
            settings, selection, told=told, max_attempts=max_attempts, limit=limit, dry_run=dry_run
        )

    typer.echo(summary(_run(send()), dry_run=dry_run), err=True)


def export(
    target: Annotated[
        Path, typer.Argument(help="A folder, or a file: .jsonl holds posts only, a line each.")
    ],
    kafka: KafkaOption = None,
    config: ConfigOption = None,
    prefix: PrefixOption = None,
    reason: ReasonOption = None,
    lane: LaneOption = None,
    source: SourceOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    ids: IdOption = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="The first so many.")] = None,
) -> None:
    """Write dead letters to files, to be corrected and sent again. Nothing is taken off the topic.

    A folder gets letters.jsonl (each letter whole), posts.jsonl for `feedsight send posts`, and images/ with
    images.jsonl for `feedsight send images`. A file gets the posts alone.

    Example: feedsight dlq export letters/ --since 1d

    Example: feedsight dlq export wrong.jsonl --reason schema; then feedsight send posts wrong.jsonl
    """
    from cli.dlq_export import ExportError, Folder, PostLines

    settings = _settings(config, kafka, prefix)
    selection = _selection(reason, lane, source, since, until, ids)
    files = PostLines(target) if target.suffix == ".jsonl" else Folder(target)

    async def write() -> None:
        async for letter, value in _with_values(settings, selection, limit):
            files.add(letter, value)

    try:
        with files:
            _run(write())
    except (OSError, ExportError) as error:
        raise fail(str(error)) from error
    typer.echo(files.said(), err=True)


def _settings(config: Path | None, kafka: str | None, prefix: str | None) -> "Settings":
    hush_client_logs()
    return read_settings(config, {"kafka": {"bootstrap": kafka}, "topics": {"prefix": prefix}})


def _selection(
    reason: list[str] | None = None,
    lane: list[str] | None = None,
    source: list[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    ids: list[str] | None = None,
) -> "Selection":
    from cli.dlq_output import when_ms
    from stream.letters import Selection
    from workers.errors import REASONS

    for name in reason or ():
        if name not in REASONS:
            raise fail(f"no such reason: {name}; there are {', '.join(sorted(REASONS))}", 2)
    try:
        return Selection(
            reasons=frozenset(reason or ()),
            stages=frozenset(lane or ()),
            sources=frozenset(source or ()),
            since_ms=when_ms(since) if since else None,
            until_ms=when_ms(until) if until else None,
            ids=frozenset(ids or ()),
        )
    except ValueError as error:
        raise fail(str(error), 2) from error


async def _with_values(
    settings: "Settings", selection: "Selection", limit: int | None = None
) -> "AsyncIterator[tuple[Letter, bytes | None]]":
    """Yield letters with their whole values; None also where one was left out for its size and is gone."""
    from stream.letters import read_letters, value_of

    count = 0
    async for letter in read_letters(settings, selection):
        try:
            value = await value_of(settings.kafka, letter)
        except LookupError:
            value = None
        yield letter, value
        count += 1
        if count == limit:
            return


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run it; what the broker refuses ends the command with one line."""
    from workers.errors import PipelineError

    try:
        return asyncio.run(work)
    except PipelineError as error:
        raise fail(error.detail) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
