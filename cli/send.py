"""`feedsight send`: put posts and images on the input topics."""

import asyncio
import hashlib
import json
import mimetypes
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.options import ConfigOption, KafkaOption, fail, hush_client_logs, read_settings, status_of

if TYPE_CHECKING:
    from config import Settings
    from stream.client import Outgoing
    from workers.image.manifest import Entry

INLINE_BYTES: Final = 512 * 1024
"""Larger images go as a claim check: brokers take about a megabyte a record."""

PrefixOption = Annotated[str | None, typer.Option("--prefix", help="Prefix of the topics.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    send = typer.Typer(help="Put posts or images on the input topics.", no_args_is_help=True)

    @send.command()
    def posts(
        file: Annotated[
            Path, typer.Argument(help="A file with one post a line (JSON); - is standard input.")
        ],
        kafka: KafkaOption = None,
        config: ConfigOption = None,
        prefix: PrefixOption = None,
    ) -> None:
        """Send posts, each line as it is: what is wrong with one, the worker's dead letter says.

        Example: feedsight send posts posts.jsonl --kafka 127.0.0.1:9092
        """
        settings = _settings(config, kafka, prefix)
        _publish(settings, settings.topics.prefix + "posts", _posts(file))

    @send.command()
    def images(
        source: Annotated[Path, typer.Argument(help="A folder of images, or a manifest (JSONL).")],
        kafka: KafkaOption = None,
        config: ConfigOption = None,
        prefix: PrefixOption = None,
        claim_check: Annotated[
            bool, typer.Option("--claim-check", help="Send where each image lies, not its bytes.")
        ] = False,
    ) -> None:
        """Send images: their bytes up to 512 KiB, above that (or on demand) a claim check with sha256.

        Example: feedsight send images photographs/ --kafka 127.0.0.1:9092
        """
        settings = _settings(config, kafka, prefix)
        _publish(settings, settings.topics.prefix + "images", image_records(source, claim_check))

    app.add_typer(send, name="send")


def _settings(config: Path | None, kafka: str | None, prefix: str | None) -> "Settings":
    hush_client_logs()
    return read_settings(config, {"kafka": {"bootstrap": kafka}, "topics": {"prefix": prefix}})


def _publish(settings: "Settings", topic: str, records: "Iterator[Outgoing]") -> None:
    from stream.client import Publisher
    from workers.errors import PipelineError

    async def publish() -> int:
        async with Publisher(settings.kafka) as publisher:
            return await publisher.publish(topic, records)

    try:
        count = asyncio.run(publish())
    except PipelineError as error:
        raise fail(error.detail, status_of(error)) from error
    typer.echo(f"sent {count} to {topic}", err=True)


def _headers(identity: str, kind: str, content_type: str) -> tuple[tuple[str, bytes], ...]:
    return (
        ("content-type", content_type.encode()),
        ("ce_specversion", b"1.0"),
        ("ce_id", identity.encode()),
        ("ce_type", f"feedsight.{kind}.v1".encode()),
        ("ce_source", b"/feedsight/send"),
        ("ce_time", datetime.now(UTC).isoformat(timespec="milliseconds").encode()),
    )


def _posts(file: Path) -> "Iterator[Outgoing]":
    from stream.client import Outgoing
    from workers.text.parse import salvage_id

    try:
        lines = typer.get_binary_stream("stdin") if str(file) == "-" else file.open("rb")
    except OSError as error:
        raise fail(f"{file} can't be read: {error.strerror}", 2) from error
    with lines:
        for raw in lines:
            line = raw.rstrip(b"\r\n")
            if not line.strip():
                continue
            identity = salvage_id(line)
            headers = _headers(identity, "post", "application/json") if identity else ()
            yield Outgoing(identity.encode() if identity else None, line, headers)


def image_records(source: Path, claim_check: bool) -> "Iterator[Outgoing]":
    """Read the images of a folder or manifest into records, in order."""
    from workers.image.manifest import BadLine, folder_entries, is_manifest, manifest_entries

    if source.is_dir():
        for entry in folder_entries(source):
            yield _image(entry, claim_check)
    elif is_manifest(source) and source.exists():
        with source.open("rb") as lines:
            for found in manifest_entries(lines, source.parent):
                if isinstance(found, BadLine):
                    raise fail(f"{source}: {found.error.detail}", 2)
                yield _image(found, claim_check)
    else:
        raise fail(f"{source} is neither a folder nor a manifest (.jsonl)", 2)


def _image(entry: "Entry", claim_check: bool) -> "Outgoing":
    from schemas import ImageMessage
    from stream.client import Outgoing

    try:
        content = entry.path.read_bytes()
    except OSError as error:
        raise fail(f"{entry.path} can't be read: {error.strerror}", 2) from error
    content_type = mimetypes.guess_type(entry.path.name)[0] or "application/octet-stream"
    key = entry.id.encode()
    if not claim_check and len(content) <= INLINE_BYTES:
        facts = [
            (name, value.encode())
            for name in ("subject", "reference", "label", "gallery")
            if (value := getattr(entry.line, name)) is not None
        ]
        if entry.line.metadata is not None:
            facts.append(("metadata", json.dumps(entry.line.metadata).encode()))
        return Outgoing(key, content, (*_headers(entry.id, "image", content_type), *facts))
    message = ImageMessage(
        id=entry.id,
        dataref=str(entry.path.resolve()),
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        content_type=content_type,
        **entry.line.model_dump(
            include={"subject", "reference", "label", "metadata", "gallery"}, exclude_none=True
        ),
    )
    return Outgoing(key, message.to_json(), _headers(entry.id, "image", "application/json"))
