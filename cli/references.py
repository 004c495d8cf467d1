"""`feedsight references`: galleries changed while the workers run."""

import asyncio
import json
from collections.abc import Awaitable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from cli.options import ConfigOption, KafkaOption, fail, hush_client_logs, read_settings

if TYPE_CHECKING:
    from cli.reference_source import Source
    from config import Settings
    from stream.in_force import Answer
    from stream.references import Catalogue, ReferencesInForce

DoneT = TypeVar("DoneT")

SHOWN_REFUSALS: Final = 20

PrefixOption = Annotated[str | None, typer.Option("--prefix", help="Prefix of the topics.")]
GalleryOption = Annotated[
    str, typer.Option("--gallery", "-g", metavar="NAME", help="Which gallery; images may name theirs.")
]
WaitOption = Annotated[
    bool, typer.Option("--wait", help="Return when every live worker says that it is in force.")
]
TimeoutOption = Annotated[float, typer.Option("--timeout", help="Seconds to wait at most.", min=0.1)]


def register(app: typer.Typer) -> None:
    """Add the command."""
    references = typer.Typer(
        help="Change what images are judged against, while the workers run.", no_args_is_help=True
    )

    @references.callback()
    def _root() -> None:
        """Change what images are judged against, while the workers run."""

    for command in (apply, remove, show):
        references.command()(command)
    app.add_typer(references, name="references")


def apply(
    source: Annotated[
        Path, typer.Argument(metavar="DIR|MANIFEST", help="A folder of images, or a manifest (JSONL).")
    ],
    gallery: GalleryOption = "default",
    wait: WaitOption = False,
    timeout: TimeoutOption = 120.0,
    inline: Annotated[
        bool | None,
        typer.Option(
            "--inline/--dataref",
            help="Send the images' bytes, or where they lie; left out, bytes up to 512 KiB.",
            show_default=False,
        ),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove members that the source does not have.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on: new, changed and deleted files of the folder follow.")
    ] = False,
    every: Annotated[
        float, typer.Option("--every", help="Seconds between looks at the folder.", min=0.1)
    ] = 1.0,
    kafka: KafkaOption = None,
    config: ConfigOption = None,
    prefix: PrefixOption = None,
) -> None:
    """Enrol images as references on all workers, in force between two batches.

    Each is decoded before it is published, and what the topic has already is not published again. In a
    manifest a line may say whose specimen it is (`subject`), its `label`, and `metadata` for filters.

    Exit status: 0 all done, 1 some images can't be used, a worker refuses or gives no word in time, 2 usage.

    Example: feedsight references apply good_parts/ --gallery line7 --wait --kafka 127.0.0.1:9092
    """
    from cli.reference_source import Source

    settings = _settings(kafka, config, prefix)
    if watch and not source.is_dir():
        raise fail("--watch follows a folder", 2)
    if not gallery or "/" in gallery or len(gallery) > 128:
        raise fail("a gallery's name has 1 to 128 characters and no slash", 2)
    found = Source(source, gallery, settings.image, inline=inline, prune=prune)
    try:
        failed = _run(_apply(settings, found, wait=wait, timeout_s=timeout, every_s=every if watch else None))
    except KeyboardInterrupt:
        failed = False
    raise typer.Exit(1 if failed else 0)


def remove(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Which references.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All of the gallery.")] = False,
    gallery: GalleryOption = "default",
    wait: WaitOption = False,
    timeout: TimeoutOption = 30.0,
    kafka: KafkaOption = None,
    config: ConfigOption = None,
    prefix: PrefixOption = None,
) -> None:
    """Take references out on all workers; they are in no result from the next batch on.

    Exit status: 0 all done, 1 an id is not there or a worker gives no word in time, 2 usage.

    Example: feedsight references remove board-17.png --wait
    """
    if bool(ids) == every:
        raise fail("name references, or --all", 2)
    settings = _settings(kafka, config, prefix)
    raise typer.Exit(_run(_remove(settings, ids or [], gallery, every=every, wait=wait, timeout_s=timeout)))


def show(
    gallery: Annotated[
        str | None, typer.Option("--gallery", "-g", metavar="NAME", help="List this one's members.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    kafka: KafkaOption = None,
    config: ConfigOption = None,
    prefix: PrefixOption = None,
) -> None:
    """Show the galleries on the topic, and which live workers have just these members in force.

    Example: feedsight references show --gallery line7
    """
    _run(_show(_settings(kafka, config, prefix), gallery, as_json=as_json))


def _settings(kafka: str | None, config: Path | None, prefix: str | None) -> "Settings":
    hush_client_logs()
    return read_settings(config, {"kafka": {"bootstrap": kafka}, "topics": {"prefix": prefix}})


def _run(work: "Awaitable[DoneT]") -> DoneT:
    from workers.errors import FatalError, PipelineError

    async def whole() -> DoneT:
        return await work

    try:
        return asyncio.run(whole())
    except FatalError as error:
        raise fail(error.detail, 2) from error
    except PipelineError as error:
        raise fail(error.detail) from error


async def _apply(
    settings: "Settings", source: "Source", *, wait: bool, timeout_s: float, every_s: float | None
) -> bool:
    """Publish what differs, once or again and again; whether something went wrong."""
    from stream.references import ReferencesInForce, publish, read_catalogue

    catalogue = await read_catalogue(settings)
    async with ReferencesInForce(settings) as force:
        failed, first = False, True
        while True:
            records = source.records(catalogue)
            count, last_ms = await publish(settings, records)
            failed = failed or bool(source.failed)
            if count or first or source.failed:
                _say(source)
            first = False
            if wait and count:
                failed = await _wait(force, source.gallery, last_ms, timeout_s) or failed
            if every_s is None:
                return failed
            await asyncio.sleep(every_s)


def _say(source: "Source") -> None:
    for name, detail in source.failed.items():
        typer.echo(f"feedsight: {name}: {detail}", err=True)
    parts = [f"{source.enrolled} published", f"{source.unchanged} unchanged"]
    parts += [f"{source.removed} removed"] if source.removed else []
    parts += [f"{len(source.failed)} can't be used"] if source.failed else []
    typer.echo(f"{source.gallery}: {', '.join(parts)}")


async def _remove(
    settings: "Settings", ids: list[str], gallery: str, *, every: bool, wait: bool, timeout_s: float
) -> int:
    from stream.client import Outgoing
    from stream.references import ReferencesInForce, publish, read_catalogue

    members = (await read_catalogue(settings)).galleries.get(gallery, {})
    unknown = [] if every else [member for member in ids if member not in members]
    for member in unknown:
        typer.echo(f"feedsight: gallery {gallery} has no reference {member!r}", err=True)
    gone = sorted(members) if every else [member for member in ids if member in members]
    records: list[Outgoing] = [Outgoing(f"{gallery}/{member}".encode(), None) for member in gone]
    failed = bool(unknown)
    async with ReferencesInForce(settings) as force:
        count, last_ms = await publish(settings, records)
        typer.echo(f"{gallery}: {count} removed")
        if wait and count:
            failed = await _wait(force, gallery, last_ms, timeout_s) or failed
    return 1 if failed else 0


async def _wait(force: "ReferencesInForce", gallery: str, last_ms: int, timeout_s: float) -> bool:
    """Wait for all live workers and say how long it took; whether something went wrong."""
    answers: list[Answer] = await force.until(gallery, last_ms, timeout_s)
    silent = [answer for answer in answers if answer.kind == "silent"]
    for answer in silent:
        typer.echo(f"feedsight: {answer.worker} gave no word in {answer.after_s:.1f} s", err=True)
    for detail in list(force.refused.values())[:SHOWN_REFUSALS]:
        typer.echo(f"feedsight: refused: {detail}", err=True)
    refused = len(force.refused)
    if refused > SHOWN_REFUSALS:
        typer.echo(f"feedsight: and {refused - SHOWN_REFUSALS} more refused", err=True)
    force.refused.clear()
    good = [answer for answer in answers if answer.kind != "silent"]
    if not answers:
        typer.echo("in force as soon as a worker runs; none does now")
    elif good:
        slowest = max(answer.after_s for answer in good)
        versions = sorted({(answer.version or "").partition(".")[0] for answer in good})
        which = f"checksum {versions[0]}" if len(versions) == 1 else f"{len(versions)} different checksums"
        workers = f"{len(good)} worker{'s' if len(good) != 1 else ''}"
        typer.echo(f"in force on {workers} after {slowest:.3f} s, {which}")
    return bool(silent or refused)


async def _show(settings: "Settings", gallery: str | None, *, as_json: bool) -> None:
    from stream.references import ReferencesInForce, read_catalogue

    catalogue = await read_catalogue(settings)
    if gallery is not None:
        for line in _members(catalogue, gallery):
            typer.echo(json.dumps(line, ensure_ascii=False) if as_json else _member_line(line))
        return
    async with ReferencesInForce(settings) as force:
        live = {name: force.workers[name].in_force for name in force.live()}
    for name, members in sorted(catalogue.galleries.items()):
        checksum = catalogue.checksum(name)
        same = sorted(
            worker for worker, versions in live.items() if versions.get(name, "").startswith(checksum)
        )
        newest = max(stored.at_ms for stored in members.values())
        line = {
            "gallery": name,
            "members": len(members),
            "checksum": checksum,
            "changed": _time(newest),
            "workers": len(live),
            "in_force_on": same,
        }
        said = (
            f"{name:<24} {len(members):>8}  {checksum}  {_time(newest)}  in force on {len(same)}/{len(live)}"
        )
        typer.echo(json.dumps(line, ensure_ascii=False) if as_json else said)
    for key, detail in catalogue.unreadable.items():
        typer.echo(f"feedsight: {key}: {detail}", err=True)


def _members(catalogue: "Catalogue", gallery: str) -> list[dict[str, Any]]:
    members = catalogue.galleries.get(gallery)
    if members is None:
        known = ", ".join(sorted(catalogue.galleries)) or "none"
        raise fail(f"there is no gallery {gallery!r} (there are: {known})")
    return [
        {
            **stored.reference.model_dump(exclude_none=True, exclude={"removed", "gallery"}),
            "inline": stored.reference.dataref is None,
            "published": _time(stored.at_ms),
        }
        for _, stored in sorted(members.items())
    ]


def _member_line(line: dict[str, Any]) -> str:
    said = [line.get("label"), line.get("subject"), "bytes" if line["inline"] else line.get("dataref")]
    facts = "  ".join(str(one) for one in said if one)
    return f"{line['id']:<32} {str(line.get('sha256', ''))[:12]}  {line['published']}  {facts}"


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="seconds")
