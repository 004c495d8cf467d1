"""`feedsight tail`: watch results, dead letters, events and what else there is, as it comes."""

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

Channel = Literal["labels", "matches", "dead-letters", "metrics", "events", "review", "feedback", "diffs"]


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
    """Watch committed results, dead letters or metrics; items to review, corrections, diffs of a replay.

    `events` are those of the metrics topic: bursts of one story, drift, versions in force or refused.

    Examples:
      feedsight tail labels --kafka 127.0.0.1:9092
      feedsight tail events --kafka 127.0.0.1:9092
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
    from cli.dlq_output import printable
    from stream.client import read
    from workers.errors import PipelineError

    async def show() -> None:
        shown = 0
        topic = settings.topics.prefix + ("metrics" if channel == "events" else channel)
        async for record in read(settings.kafka, topic, from_start=from_start, until_end=until_end):
            found = _dead_letter(record) if channel == "dead-letters" else _parsed(record)
            if reason is not None and found.get("reason") != reason:
                continue
            if channel == "events" and found.get("kind", "snapshot") == "snapshot":
                continue
            line = orjson.dumps(found).decode() if as_json else printable(_line(channel, found))
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
    if found.get("kind", "snapshot") != "snapshot":
        return _event_line(found)
    latency = found.get("latency") or {}
    dead = sum((found.get("dead_letters") or {}).values())
    p50, p99 = (latency.get(name) for name in ("p50_s", "p99_s"))
    return (
        f"{found.get('worker', '?')}.{found.get('lane', '?')}  {found.get('throughput_per_s', 0):>9.1f}/s  "
        f"p50 {json.dumps(p50)} s  p99 {json.dumps(p99)} s  lag {found.get('lag')}  dead {dead}  "
        f"{found.get('model')} {found.get('version')}"
    )


def _event_line(found: dict[str, Any]) -> str:
    """What happened, in a line that says all a person needs: `14:02:31  news  in force: version 4`."""
    kind, version = found.get("kind"), found.get("version")
    detail = found.get("detail") or ""
    took = f" after {found['took_s']:.3f} s" if found.get("took_s") is not None else ""
    said = {
        "started": f"worker {found.get('worker')} starts",
        "stopped": f"worker {found.get('worker')} stops",
        "in_force": f"version {version} in force{took}",
        "removed": f"taken out of force{took}",
        "refused": f"version {version} refused: {detail}",
        "refit": f"refitted: {detail}",
    }.get(str(kind), detail or str(kind))
    at = str(found.get("at") or "")[11:19]
    return f"{at:<8}  {found.get('name') or found.get('lane') or '':<16}  {said}"


def _review_line(found: dict[str, Any]) -> str:
    why = "+".join(found.get("why") or ())
    text = " ".join(str(found.get("text") or "").split())[:100]
    label = f"{found.get('label') or '–'} {found.get('probability') or 0:.0%}"
    return f"{found.get('id', '?'):<24}  {found.get('name', '?')}  {label:<24}  {why:<16}  {text}"


def _feedback_line(found: dict[str, Any]) -> str:
    label = found.get("label") or "none of the labels"
    return f"{found.get('id', '?'):<24}  {found.get('name') or '':<16}  {label}  by {found.get('by') or '?'}"


def _diff_line(found: dict[str, Any]) -> str:
    text = " ".join(str(found.get("text") or "").split())[:100]
    change = f"{found.get('old') or '–'} → {found.get('new') or '–'}"
    versions = f"{found.get('name')} {found.get('old_version')} → {found.get('new_version')}"
    return f"{found.get('id', '?'):<24}  {versions}  {change:<32}  {text}"


def _line(channel: Channel, found: dict[str, Any]) -> str:
    """A record in one line for people; one that is not ours as it is."""
    try:
        return _LINES[channel](found)
    except (TypeError, ValueError, AttributeError, KeyError, IndexError):
        return orjson.dumps(found).decode()


_LINES = {
    "labels": _label_line,
    "matches": _match_line,
    "dead-letters": _dead_letter_line,
    "metrics": _metrics_line,
    "events": _event_line,
    "review": _review_line,
    "feedback": _feedback_line,
    "diffs": _diff_line,
}
