"""`feedsight replay`: what another version of a label set would have said of the past."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.options import ConfigOption, KafkaOption, fail, hush_client_logs, read_settings, status_of

if TYPE_CHECKING:
    from config import Settings
    from schemas import LabelSet
    from stream.replay import ReplayOptions
    from stream.replay_summary import Summary

NICE: Final = 10
"""Lower priority than a worker on the same machine."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("replay")(replay)


def replay(
    labels: Annotated[Path, typer.Option("--labels", metavar="FILE", help="The label set to try.")],
    from_: Annotated[
        str, typer.Option("--from", metavar="WHEN", help="Posts from then on: 2h, 7d, an ISO time.")
    ] = "1h",
    to: Annotated[
        str | None, typer.Option("--to", metavar="WHEN", help="And before then; left out, until now.")
    ] = None,
    rate: Annotated[float, typer.Option(min=0, help="Posts a second at most; 0: no limit.")] = 500.0,
    limit: Annotated[int | None, typer.Option(min=1, help="Posts at most.")] = None,
    topic: Annotated[str | None, typer.Option(help="Where the posts are; left out, the input topic.")] = None,
    model: Annotated[str | None, typer.Option(help="Text model; left out, the workers' setting.")] = None,
    archive: Annotated[
        bool, typer.Option("--archive/--no-archive", help="Keep the label set for `labels promote`.")
    ] = True,
    kafka: KafkaOption = None,
    config: ConfigOption = None,
    prefix: Annotated[str | None, typer.Option("--prefix", help="Prefix of the topics.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Label the past again with a label set that is not in force, beside the live stream.

    Each post whose label would be another goes to the `diffs` topic (`feedsight tail diffs`), a summary to
    the terminal. Nothing live changes: the label set is archived as NAME@VERSION, and `feedsight labels
    promote NAME@VERSION` puts it in force. Interrupted, it ends with the summary of what was done.

    Exit status: 0 done or interrupted, 1 no broker or no posts, 2 usage or configuration.

    Example: feedsight replay --from 2h --labels v2.yaml --rate 500 --kafka 127.0.0.1:9092
    """
    from workers.errors import PipelineError

    hush_client_logs()
    settings = read_settings(
        config,
        {"kafka": {"bootstrap": kafka}, "topics": {"prefix": prefix}, "text": {"model": model}},
    )
    options = _options(from_, to, rate, limit, topic)
    if not labels.is_file():
        raise fail(f"label set {labels} does not exist", 2)
    os.nice(NICE)
    try:
        label_set, summary = asyncio.run(_replay(settings, labels, options, archive=archive))
    except PipelineError as error:
        raise fail(error.detail, status_of(error)) from error
    stopped = options.stop.is_set()
    if as_json:
        facts = {**summary.to_json(), "interrupted": stopped, "archived": archive}
        typer.echo(json.dumps(facts, ensure_ascii=False))
    else:
        _print(summary, label_set, stopped=stopped, archived=archive)
    if not summary.read and not stopped:
        raise fail(f"no posts from {from_} on" + (f" and before {to}" if to else ""))


def _options(
    from_: str, to: str | None, rate: float, limit: int | None, topic: str | None
) -> "ReplayOptions":
    from cli.dlq_output import when_ms
    from stream.replay import ReplayOptions

    try:
        from_ms, to_ms = when_ms(from_), when_ms(to) if to is not None else None
    except ValueError as error:
        raise fail(str(error), 2) from error
    if to_ms is not None and to_ms <= from_ms:
        raise fail(f"--to {to} is not after --from {from_}", 2)
    return ReplayOptions(from_ms, to_ms, rate or None, limit, topic)


async def _replay(
    settings: "Settings", file: Path, options: "ReplayOptions", *, archive: bool
) -> tuple["LabelSet", "Summary"]:
    from cli.progress import Progress
    from stream.label_sets import numbered, publish, read_shelf
    from stream.replay import prepare_diffs
    from stream.replay import replay as run
    from workers.text.label_set import load_label_set
    from workers.text.worker import TextWorker

    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, options.stop.set)
    shelf = await read_shelf(settings)
    label_set = numbered(load_label_set(file), shelf)
    text = settings.text
    if label_set.model is not None and "model" not in text.model_fields_set:
        text = text.model_copy(update={"model": label_set.model})
    if not text.threads:  # one, so that workers on the same machine keep the others
        text = text.model_copy(update={"threads": 1})
    worker = TextWorker(text, label_set)
    version = str(label_set.version)
    await prepare_diffs(settings)
    with Progress("posts") as progress:
        options.progressed = progress.advance
        summary = await run(settings, worker, label_set.name, version, options)
    if archive and shelf.find(label_set.name, version) is None:
        await publish(settings, label_set, in_force=False, note="tried by replay")
    return label_set, summary


def _print(summary: "Summary", label_set: "LabelSet", *, stopped: bool, archived: bool) -> None:
    """The summary, for a person."""
    from cli.dlq_output import printable

    old = ", ".join(summary.old_versions) or "none"
    typer.echo(f"{summary.name}: {summary.new_version} against {old}" + (" (interrupted)" if stopped else ""))
    share = summary.share_changed
    if share is None:
        typer.echo(f"  none of {summary.read:,} posts read has a former result: nothing to compare")
    else:
        typer.echo(f"  {summary.changed:,} of {summary.compared:,} posts change their label: {share:.1%}")
    left_out = {
        "without a former result": summary.without_old,
        "left out by its filters": summary.not_for_it,
        "no posts, or failed": summary.failed,
    }
    for what, count in left_out.items():
        if count:
            typer.echo(f"  {count:,} of {summary.read:,} read: {what}")
    if summary.known:
        before, after = (total / summary.known for total in summary.confidence)
        typer.echo(f"  mean confidence {before:.1%} → {after:.1%}")
    if summary.compared:
        _print_table("label", summary.by_label(), summary.compared)
    for (before_label, after_label), count in summary.changes()[:10]:
        typer.echo(f"\n  {_named(before_label)} → {_named(after_label)}: {count:,}")
        for diff in summary.examples.get((before_label, after_label), []):
            text = printable(" ".join((diff.text or "").split()))
            typer.echo(f"    {diff.new_probability or 0:4.0%}  {text[:100]}")
    if archived:
        key = f"{label_set.name}@{label_set.version}"
        typer.echo(f"\n  not in force: `feedsight labels promote {key}` puts it there")


def _print_table(title: str, rows: dict[str | None, tuple[int, int]], total: int) -> None:
    names = {name: _named(name) for name in rows}
    width = max(len(title), *(len(name) for name in names.values()))
    typer.echo(f"\n  {title:<{width}}  {'before':>16}  {'after':>16}")
    for name, (old, new) in rows.items():
        cells = [f"{count:>8,} {count / total:>6.1%}" for count in (old, new)]
        typer.echo(f"  {names[name]:<{width}}  {cells[0]:>16}  {cells[1]:>16}")


def _named(label: str | None) -> str:
    from cli.dlq_output import printable

    return printable(label) if label is not None else "(no label)"
