"""`feedsight tail`: watch results, dead letters and metrics as they come."""

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
import typer

from cli.options import ConfigOption, KafkaOption, fail, hush_client_logs, read_settings, status_of

if TYPE_CHECKING:
    from config import Settings
    from stream.client import Incoming

Channel = Literal["labels", "matches", "dead-letters", "metrics"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("tail")(tail)


def tail(
    channel: Annotated[Channel, typer.Argument(help="What to watch.")],
    kafka: KafkaOption = None,
    config: ConfigOption = None,
    prefix: Annotated[str | None, typer.Option("--prefix", help="Prefix of the topics.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="From the oldest on, not from now.")
    ] = False,
    until_end: Annotated[bool, typer.Option("--until-end", help="Stop at the present end.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Stop after so many.")] = None,
) -> None:
    """Watch committed results, dead letters or metrics.

    Example: feedsight tail labels --kafka 127.0.0.1:9092
    """
    hush_client_logs()
    settings = read_settings(config, {"kafka": {"bootstrap": kafka}, "topics": {"prefix": prefix}})
    show_channel(settings, channel, as_json=as_json, from_start=from_start, until_end=until_end, limit=limit)


def show_channel(
    settings: "Settings",
    channel: Channel,
    *,
    as_json: bool,
    from_start: bool,
    until_end: bool,
    limit: int | None = None,
    reason: str | None = None,
) -> None:
    """Print a channel's records until told to stop.

    Args:
        settings: all settings.
        channel: what to print.
        as_json: one JSON object a line.
        from_start: from the oldest on.
        until_end: stop at the present end.
        limit: stop after so many.
        reason: of dead letters, only those with this reason.
    """
    from stream.client import read
    from workers.errors import PipelineError

    async def show() -> None:
        shown = 0
        topic = settings.topics.prefix + channel
        async for record in read(settings.kafka, topic, from_start=from_start, until_end=until_end):
            found = _dead_letter(record) if channel == "dead-letters" else _parsed(record)
            if reason is not None and found.get("reason") != reason:
                continue
            line = orjson.dumps(found).decode() if as_json else _LINES[channel](found)
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
            shown += 1
            if shown == limit:
                return

    try:
        asyncio.run(show())
    except PipelineError as error:
        raise fail(error.detail, status_of(error)) from error
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    except BrokenPipeError:  # `| head`
        sys.stderr.close()
        raise typer.Exit(0) from None


def _parsed(record: "Incoming") -> dict[str, Any]:
    try:
        found = orjson.loads(record.value or b"")
    except orjson.JSONDecodeError:
        found = None
    if isinstance(found, dict):
        return found
    return {
        "error": "not JSON",
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
    }


def _dead_letter(record: "Incoming") -> dict[str, Any]:
    from stream.dead_letter import from_headers

    value = record.value or b""
    shown = {
        "key": record.key.decode("utf-8", "replace") if record.key is not None else None,
        "value": value[:200].decode("utf-8", "replace"),
        "value_bytes": len(value),
        "dead_letter": {"partition": record.partition, "offset": record.offset},
    }
    try:
        return {**from_headers(record.headers).model_dump(), **shown}
    except ValueError as error:
        return {"reason": None, "detail": str(error), **shown}


def _label_line(found: dict[str, Any]) -> str:
    candidates = found.get("candidates") or [{}]
    best = candidates[0]
    label = found.get("label") or f"– ({best.get('label')}?)"
    return f"{found.get('id', '?'):<24}  {best.get('probability', 0):6.1%}  {label}"


def _match_line(found: dict[str, Any]) -> str:
    regions = found.get("regions") or []
    near = (found.get("neighbors") or [{}])[0].get("id", "")
    what = f"{len(regions)} region{'s' if len(regions) != 1 else ''}" if regions else near
    return f"{found.get('id', '?'):<24}  {found.get('verdict', '?'):<9} {found.get('score', 0):8.3f}  {what}"


def _dead_letter_line(found: dict[str, Any]) -> str:
    where = f"{found.get('topic')}-{found.get('partition')}@{found.get('offset')}"
    return f"{where:<32}  {found.get('reason') or '?':<20}  {found.get('detail')}"


def _metrics_line(found: dict[str, Any]) -> str:
    latency = found.get("latency") or {}
    dead = sum((found.get("dead_letters") or {}).values())
    p50, p99 = (latency.get(name) for name in ("p50_s", "p99_s"))
    return (
        f"{found.get('worker', '?')}.{found.get('lane', '?')}  {found.get('throughput_per_s', 0):>9.1f}/s  "
        f"p50 {json.dumps(p50)} s  p99 {json.dumps(p99)} s  lag {found.get('lag')}  dead {dead}  "
        f"{found.get('model')} {found.get('version')}"
    )


_LINES = {
    "labels": _label_line,
    "matches": _match_line,
    "dead-letters": _dead_letter_line,
    "metrics": _metrics_line,
}
