"""`feedsight labels apply|rollback|promote|remove`: label sets changed on running workers."""

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.labels_shelf import (
    NameArgument,
    PrefixOption,
    checked,
    find,
    labels_settings,
    run,
    shelf_of,
)
from cli.options import ConfigOption, KafkaOption, fail

if TYPE_CHECKING:
    from config import Settings
    from schemas import LabelSet
    from stream.in_force import Answer
    from stream.label_sets import Shelf, Stored

WaitOption = Annotated[
    bool, typer.Option("--wait", help="Return when every live worker says that it is in force.")
]
TimeoutOption = Annotated[float, typer.Option("--timeout", help="Seconds to wait at most.", min=0.1)]
NoteOption = Annotated[
    str | None, typer.Option("--note", "-m", help="What the change is for; kept in the history.")
]


def apply(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Label sets, YAML or JSON.")],
    wait: WaitOption = False,
    timeout: TimeoutOption = 30.0,
    note: NoteOption = None,
    kafka: KafkaOption = None,
    config: ConfigOption = None,
    prefix: PrefixOption = None,
) -> None:
    """Put label sets in force on all workers, between two batches; each name is a campaign of its own.

    A file without a version gets the next number. What is in force already is not published again.

    Exit status: 0 in force (with --wait) or published, 1 refused, no word in time or no broker, 2 usage.

    Example: feedsight labels apply news.yaml --wait --kafka 127.0.0.1:9092
    """
    from stream.topics import TopicNames
    from workers.text.label_set import load_label_set

    settings = labels_settings(kafka, config, prefix)
    for file in files:
        if not file.is_file():
            raise fail(f"label set {file} does not exist", 2)
    taken = TopicNames(settings.topics.prefix).all()
    label_sets = [checked(lambda file=file: load_label_set(file, taken)) for file in files]  # type: ignore[misc]
    run(_put_in_force(settings, label_sets, wait=wait, timeout_s=timeout, note=note))


def rollback(
    name: NameArgument,
    to: Annotated[
        str | None, typer.Option("--to", help="The version to go back to; left out, the one before.")
    ] = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = 30.0,
    kafka: KafkaOption = None,
    config: ConfigOption = None,
    prefix: PrefixOption = None,
) -> None:
    """Put a former version in force again, under its own version.

    Example: feedsight labels rollback news --wait
    """
    settings = labels_settings(kafka, config, prefix)
    shelf = run(shelf_of(settings))
    stored = find(shelf, name, to) if to is not None else _before(shelf, name)
    note = f"back to {stored.version}"
    run(_put_in_force(settings, [stored.label_set], wait=wait, timeout_s=timeout, note=note))


def promote(
    name: Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="The newest, or the one named.")],
    wait: WaitOption = False,
    timeout: TimeoutOption = 30.0,
    kafka: KafkaOption = None,
    config: ConfigOption = None,
    prefix: PrefixOption = None,
) -> None:
    """Put an archived version in force, as one that `feedsight replay` has tried.

    Example: feedsight labels promote news@5 --wait
    """
    settings = labels_settings(kafka, config, prefix)
    shelf = run(shelf_of(settings))
    plain, _, version = name.partition("@")
    known = shelf.archived.get(plain, [])
    if not version and not known:
        raise fail(f"there is no version of {plain!r} to promote")
    stored = find(shelf, plain, version) if version else known[-1]
    note = f"promoted {stored.version}"
    run(_put_in_force(settings, [stored.label_set], wait=wait, timeout_s=timeout, note=note))


def remove(
    name: NameArgument,
    wait: WaitOption = False,
    timeout: TimeoutOption = 30.0,
    kafka: KafkaOption = None,
    config: ConfigOption = None,
    prefix: PrefixOption = None,
) -> None:
    """Take a label set out of force; its versions stay in the history. Without any, workers wait.

    Example: feedsight labels remove news --wait
    """
    settings = labels_settings(kafka, config, prefix)
    shelf = run(shelf_of(settings))
    if name not in shelf.in_force:
        raise fail(f"label set {name!r} is not in force")

    async def withdrawn() -> None:
        from stream.in_force import InForce
        from stream.label_sets import withdraw

        async with InForce(settings, "text") as watch:
            published_ms = await withdraw(settings, name)
            if wait:
                _report(f"{name} removed", await watch.until(name, published_ms, timeout))
            else:
                typer.echo(f"{name} is taken out of force")

    run(withdrawn())


async def _put_in_force(
    settings: "Settings", label_sets: "list[LabelSet]", *, wait: bool, timeout_s: float, note: str | None
) -> None:
    from stream.in_force import InForce
    from stream.label_sets import numbered, publish, read_shelf

    shelf = await read_shelf(settings)
    sets = [numbered(label_set, shelf) for label_set in label_sets]
    async with InForce(settings, "text") as watch:
        published = []
        for label_set in sets:
            present = shelf.in_force.get(label_set.name)
            if present is not None and present.label_set == label_set:
                typer.echo(f"{label_set.name} version {label_set.version} is in force already")
                published.append(present.at_ms)
            else:
                known = shelf.find(label_set.name, str(label_set.version))
                at_ms = await publish(settings, label_set, archive=known is None, by=_user(), note=note)
                published.append(at_ms)
                if not wait:
                    typer.echo(f"{label_set.name} version {label_set.version} is published")
        if wait:
            for label_set, at_ms in zip(sets, published, strict=True):
                present = shelf.in_force.get(label_set.name)
                if present is None or present.label_set != label_set:
                    said = f"{label_set.name} version {label_set.version} in force"
                    _report(said, await watch.until(label_set.name, at_ms, timeout_s))


def _report(said: str, answers: "list[Answer]") -> None:
    """Say how it went; a worker that refused or fell silent ends the command with status 1."""
    good = [answer for answer in answers if answer.kind in ("in_force", "removed")]
    for answer in answers:
        if answer.kind == "refused":
            typer.echo(f"feedsight: {answer.worker} refuses: {answer.detail}", err=True)
        elif answer.kind == "silent":
            typer.echo(f"feedsight: {answer.worker} gave no word in {answer.after_s:.1f} s", err=True)
    if len(good) < len(answers):
        raise typer.Exit(1)
    if not answers:
        typer.echo(f"{said} as soon as a worker runs; none does now")
        return
    slowest = max(answer.after_s for answer in good)
    typer.echo(f"{said} on {len(good)} worker{'s' if len(good) != 1 else ''} after {slowest:.3f} s")


def _before(shelf: "Shelf", name: str) -> "Stored":
    """The version that stood before the one in force."""
    present = find(shelf, name, None)
    others = [stored for stored in shelf.archived.get(name, []) if stored.version != present.version]
    if not others:
        raise fail(f"{name!r} has no version but {present.version}")
    earlier = [stored for stored in others if stored.at_ms <= present.at_ms]
    return (earlier or others)[-1]


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such user in this container
        return None
