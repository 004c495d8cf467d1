"""How dead letters look on a terminal, and as JSON."""

import base64
import heapq
import io
import re
import sys
from collections import Counter as Tally
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from stream.letters import Letter

UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}

PREVIEW_BYTES: Final = 200
SHOWN_BYTES: Final = 4_096
"""Of a value, on a terminal; `--raw` gives all."""

WIDE: Final = 200
"""Columns of a table that goes into a file or a pipe."""

SAID: Final = {
    "replayed": "replayed",
    "replayed_before": "replayed before",
    "tried_too_often": "tried too often",
    "no_dead_letter": "no dead letter of ours",
    "no_input_topic": "not from an input topic",
    "value_gone": "left out for its size, and gone from its topic",
    "too_large": "too large for the broker with one header more",
}


def when_ms(text: str, now: datetime | None = None) -> int:
    """Read a time: an age such as 90s, 2h, 7d, or an ISO time, UTC where it names no zone.

    Returns:
        Milliseconds since the epoch.

    Raises:
        ValueError: it is neither.
    """
    age = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip())
    if age:
        seconds = (now or datetime.now(UTC)).timestamp() - float(age[1]) * UNITS_S[age[2]]
        return int(seconds * 1_000)
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"no time: {text!r}; such as 2h, 7d or 2026-05-01T12:00") from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1_000)


def printable(text: str) -> str:
    """Take the sting out of what comes from outside: no control character reaches a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


class Newest:
    """Collects letters, all or the newest so many; their values are cut to a preview.

    Args:
        limit: how many at most.
    """

    def __init__(self, limit: int | None) -> None:
        self.total = 0
        self.reasons: Tally[str] = Tally()
        self._limit = limit
        self._heap: list[tuple[int, int, dict[str, Any]]] = []

    def add(self, letter: "Letter") -> None:
        """Take one."""
        self.total += 1
        self.reasons[letter.facts.reason if letter.facts else "unknown"] += 1
        entry = (letter.record.timestamp_ms, self.total, summary_of(letter))
        if self._limit is not None and len(self._heap) >= self._limit:
            heapq.heappushpop(self._heap, entry)
        else:
            heapq.heappush(self._heap, entry)

    def letters(self) -> list[dict[str, Any]]:
        """Those that were kept, oldest first."""
        return [found for *_, found in sorted(self._heap, key=lambda entry: entry[:2])]


def summary_of(letter: "Letter") -> dict[str, Any]:
    """What a list shows of a letter."""
    record, facts = letter.record, letter.facts
    value = record.value or b""
    return {
        "letter": letter.id,
        "written_at": datetime.fromtimestamp(record.timestamp_ms / 1_000, UTC).isoformat(
            timespec="milliseconds"
        ),
        **(facts.model_dump() if facts else {"reason": None, "detail": "not a dead letter of ours"}),
        "id": letter.message_id,
        "key": record.key.decode("utf-8", "replace") if record.key is not None else None,
        "value": value[:PREVIEW_BYTES].decode("utf-8", "replace"),
        "value_bytes": len(value) if letter.omitted_bytes is None else letter.omitted_bytes,
    }


def whole(letter: "Letter", value: bytes | None) -> dict[str, Any]:
    """A letter with its headers and its whole value; what is no UTF-8 stands as base64."""
    found = {**summary_of(letter), "headers": [[n, _text_or_base64(v)] for n, v in letter.headers]}
    found["value"] = _text_or_base64(value)
    return found


def _text_or_base64(value: bytes | None) -> str | dict[str, str] | None:
    if value is None:
        return None
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode("ascii")}


def as_json_line(found: Mapping[str, Any]) -> str:
    """One line of JSON."""
    return orjson.dumps(dict(found)).decode()


def print_table(newest: Newest) -> None:
    """Print a list for people."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    letters = newest.letters()
    console = Console(width=None if sys.stdout.isatty() else WIDE)
    if not letters:
        console.print("no dead letters")
        return
    table = Table(box=SIMPLE, pad_edge=False)
    for name, fold in (
        ("letter", False), ("written (UTC)", False), ("reason", False), ("read at", False), ("try", False),
        ("id", True), ("bytes", False), ("detail", True),
    ):  # fmt: skip
        right = "right" if name in ("bytes", "try") else "left"
        table.add_column(name, no_wrap=not fold, overflow="fold", justify=right)  # type: ignore[arg-type]
    for found in letters:
        table.add_row(
            found["letter"],
            found["written_at"][:19].replace("T", " "),
            Text(printable(found["reason"] or "?"), "red"),
            Text(
                printable(
                    f"{found.get('topic', '?')}-{found.get('partition', '?')}@{found.get('offset', '?')}"
                )
            ),
            str(found.get("attempt", "?")),
            Text(printable(found["id"] or found["key"] or "")),
            f"{found['value_bytes']:,}",
            Text(printable(found["detail"] or "")),
        )
    console.print(table)
    more = newest.total - len(letters)
    reasons = ", ".join(f"{count} {printable(reason)}" for reason, count in newest.reasons.most_common())
    console.print(f"{newest.total} dead letters: {reasons}", markup=False)
    if more:
        console.print(f"{more} older ones are not shown")


def print_letter(letter: "Letter", value: bytes | None, *, as_json: bool) -> None:
    """Print one letter whole."""
    found = whole(letter, value)
    if as_json:
        sys.stdout.write(as_json_line(found) + "\n")
        return
    headers = found.pop("headers")
    found.pop("value")
    lines = [f"{name:<16} {printable(str(shown))}" for name, shown in found.items() if shown is not None]
    lines += ["", "headers"] + [f"  {printable(name)}: {printable(str(text))}" for name, text in headers]
    lines += ["", "value", *_shown(letter, value)]
    sys.stdout.write("\n".join(lines) + "\n")


def _shown(letter: "Letter", value: bytes | None) -> list[str]:
    if value is None:
        if letter.omitted_bytes is not None:
            return [f"  {letter.omitted_bytes:,} bytes, left out for their size, and gone from their topic"]
        return ["  null"]
    image = image_facts(value)
    if image is not None:
        return [f"  {image}, {len(value):,} bytes"]
    cut = value[:SHOWN_BYTES]
    more = [f"  … {len(value) - len(cut):,} bytes more: --raw gives all"] if len(cut) < len(value) else []
    try:
        text = cut.decode("utf-8") if not more else cut.decode("utf-8", "ignore")
        return ["  " + line for line in printable(text).splitlines()] + more
    except UnicodeDecodeError:
        rows = range(0, min(len(cut), 512), 16)
        dump = [f"  {at:06x}  {cut[at : at + 16].hex(' '):<47}  {_ascii(cut[at : at + 16])}" for at in rows]
        return dump + ([f"  … {len(value) - 512:,} bytes more: --raw gives all"] if len(value) > 512 else [])


def _ascii(part: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)


def image_facts(value: bytes) -> str | None:
    """Say what image it is, from its head alone; None where it is none that can be read."""
    import warnings

    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(value)) as image:  # reads the head; no pixel is decoded
                return f"{image.format} image, {image.width} × {image.height} pixels, mode {image.mode}"
    except Exception:  # a damaged head is why it is a dead letter
        return None


def replayed_line(letter: "Letter", what: str, *, as_json: bool, dry_run: bool) -> str:
    """What became of a letter in a replay."""
    facts = letter.facts
    if as_json:
        return as_json_line(
            {
                "letter": letter.id,
                "id": letter.message_id,
                "outcome": f"would_be_{what}" if dry_run and what == "replayed" else what,
                "reason": facts and facts.reason,
                "topic": facts and facts.topic,
                "attempt": facts and facts.attempt + (what == "replayed"),
            }
        )
    said = "would be replayed" if what == "replayed" else SAID.get(what, what)
    where = f"to {facts.topic}-{facts.partition}, {facts.reason}" if facts else ""
    return printable(f"{letter.id:<12} {said:<20} {where}  {letter.message_id or ''}").rstrip()


def summary(tally: Mapping[str, int], *, dry_run: bool) -> str:
    """One line on a replay."""
    done = f"{'would replay' if dry_run else 'replayed'} {tally.get('replayed', 0)}"
    passed = [f"{count} {SAID.get(why, why)}" for why, count in sorted(tally.items()) if why != "replayed"]
    return done + ("; passed over: " + ", ".join(passed) if passed else "")
