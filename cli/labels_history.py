"""`feedsight labels show|history|diff`: label sets on their topic, looked at."""

import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from cli.labels_shelf import (
    JsonOption,
    NameArgument,
    PrefixOption,
    checked,
    find,
    labels_settings,
    run,
    shelf_of,
    time_of,
)
from cli.options import ConfigOption, KafkaOption, fail

if TYPE_CHECKING:
    from config import Settings


def show(
    name: Annotated[str | None, typer.Argument(help="One label set whole; left out, a line each.")] = None,
    version: Annotated[str | None, typer.Option("--version", help="Another than what is in force.")] = None,
    as_json: JsonOption = False,
    kafka: KafkaOption = None,
    config: ConfigOption = None,
    prefix: PrefixOption = None,
) -> None:
    """Show what is in force, and on which workers; or one label set as YAML, fit to be applied again.

    Example: feedsight labels show news > news.yaml
    """
    settings = labels_settings(kafka, config, prefix)
    shelf = run(shelf_of(settings))
    if name is not None:
        stored = find(shelf, name, version)
        content = stored.label_set.model_dump(mode="json", exclude_unset=True)
        typer.echo(json.dumps(content, ensure_ascii=False) if as_json else _as_yaml(content), nl=as_json)
        return
    workers = run(_workers(settings))
    for stored in shelf.in_force.values():
        label_set = stored.label_set
        here = sum(found.get(label_set.name) == stored.version for found in workers.values())
        if as_json:
            facts = {"name": label_set.name, "version": stored.version, "labels": len(label_set.labels)}
            facts |= {"at": time_of(stored.at_ms), "by": stored.by, "note": stored.note, "workers": here}
            typer.echo(json.dumps({**facts, "workers_live": len(workers)}, ensure_ascii=False))
        else:
            count = f"{len(label_set.labels)} label{'s' if len(label_set.labels) != 1 else ''}"
            said = f"  {stored.note}" if stored.note else ""
            typer.echo(
                f"{label_set.name:<28} version {stored.version:<14} {count:<10}  "
                f"on {here} of {len(workers)} workers  {time_of(stored.at_ms)}{said}"
            )
    for key, problem in shelf.unreadable.items():
        typer.echo(f"feedsight: {key}: {problem}", err=True)
    if not shelf.in_force and not as_json:
        typer.echo("no label set is in force; put one there with `feedsight labels apply FILE`", err=True)


def history(
    name: NameArgument,
    as_json: JsonOption = False,
    kafka: KafkaOption = None,
    config: ConfigOption = None,
    prefix: PrefixOption = None,
) -> None:
    """Show all versions of a label set, oldest first; `*` marks the one in force.

    Example: feedsight labels history news
    """
    shelf = run(shelf_of(labels_settings(kafka, config, prefix)))
    present = shelf.in_force.get(name)
    versions = shelf.archived.get(name, [])
    if not versions and present is None:
        raise fail(f"there is no label set {name!r}")
    for stored in versions:
        labels = stored.label_set.labels
        examples = sum(len(label.examples) for label in labels)
        current = present is not None and present.version == stored.version
        if as_json:
            facts = {"version": stored.version, "in_force": current, "at": time_of(stored.at_ms)}
            facts |= {"by": stored.by, "note": stored.note, "labels": len(labels), "examples": examples}
            typer.echo(json.dumps(facts, ensure_ascii=False))
        else:
            mark = "*" if current else " "
            line = f"{mark} {stored.version:<14} {time_of(stored.at_ms)}  {stored.by or '-':<12} "
            line += f"{len(labels)} labels, {examples} examples  {stored.note or ''}"
            typer.echo(line.rstrip())


def diff(
    name: NameArgument,
    old: Annotated[str, typer.Argument(metavar="OLD", help="A version.")],
    new: Annotated[
        str | None, typer.Argument(metavar="NEW", help="Another, or a file; left out, what is in force.")
    ] = None,
    kafka: KafkaOption = None,
    config: ConfigOption = None,
    prefix: PrefixOption = None,
) -> None:
    """Show what changed between two versions. Exit status: 0 nothing, 1 something.

    Example: feedsight labels diff news 3 4
    """
    from workers.text.label_set import load_label_set

    shelf = run(shelf_of(labels_settings(kafka, config, prefix)))
    before = find(shelf, name, old).label_set
    if new is not None and Path(new).is_file():
        after = checked(lambda: load_label_set(Path(new)))
    else:
        after = find(shelf, name, new).label_set
    one, other = (
        _as_yaml(label_set.model_dump(mode="json", exclude_unset=True)).splitlines()
        for label_set in (before, after)
    )
    names = (f"{name} {before.version}", f"{name} {after.version}")
    found = list(difflib.unified_diff(one, other, names[0], names[1], lineterm="", n=2))
    for line in found:
        typer.echo(line)
    raise typer.Exit(1 if found else 0)


async def _workers(settings: "Settings") -> dict[str, dict[str, str]]:
    """What each live text worker says is in force."""
    from stream.in_force import InForce

    async with InForce(settings, "text") as watch:
        live = watch.live()
        return {name: worker.in_force for name, worker in watch.workers.items() if name in live}


def _as_yaml(content: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    return text
