"""What the `feedsight labels` commands share: the topic, read, and their options."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from cli.options import fail, hush_client_logs, read_settings

if TYPE_CHECKING:
    from config import Settings
    from stream.label_sets import Shelf, Stored

DoneT = TypeVar("DoneT")

PrefixOption = Annotated[str | None, typer.Option("--prefix", help="Prefix of the topics.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The label set's name.")]


async def shelf_of(settings: "Settings") -> "Shelf":
    """Read the label-set topic."""
    from stream.label_sets import read_shelf

    return await read_shelf(settings)


def find(shelf: "Shelf", name: str, version: str | None) -> "Stored":
    """A version of a label set, or the one in force; without it the command ends with status 1."""
    if version is None:
        stored = shelf.in_force.get(name)
        if stored is None:
            known = ", ".join(shelf.in_force) or "none"
            raise fail(f"label set {name!r} is not in force (in force: {known})")
        return stored
    stored = shelf.find(name, version)
    if stored is None:
        known = ", ".join(one.version for one in shelf.archived.get(name, [])) or "none"
        raise fail(f"there is no version {version} of {name!r} (there are: {known})")
    return stored


def labels_settings(kafka: str | None, config: Path | None, prefix: str | None) -> "Settings":
    """The settings of a command."""
    hush_client_logs()
    return read_settings(config, {"kafka": {"bootstrap": kafka}, "topics": {"prefix": prefix}})


def run(work: "Awaitable[DoneT]") -> DoneT:
    """Run to the end; an error of the pipeline is said in one line and ends with status 1."""
    from workers.errors import PipelineError

    async def whole() -> DoneT:
        return await work

    try:
        return asyncio.run(whole())
    except PipelineError as error:
        raise fail(error.detail) from error


def checked(read: Callable[[], DoneT]) -> DoneT:
    """Read something of the user's; what is wrong with it is said in one line and ends with status 1."""
    from workers.errors import FatalError

    try:
        return read()
    except FatalError as error:
        raise fail(error.detail) from error


def time_of(at_ms: int) -> str:
    """A time as people read it."""
    return datetime.fromtimestamp(at_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
