"""The screen: what came in, what came out, how fast."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli.showcase.tally import UNSURE, DeadLetterSeen, LabelsChanged, LabelSeen, MatchSeen, Tally

COLOURS: Final = (
    "bright_red",
    "orange1",
    "yellow1",
    "deep_sky_blue1",
    "spring_green2",
    "orchid1",
    "turquoise2",
    "grey62",
)
"""One for each label, in the label set's order."""

BAR_CELLS: Final = 8
BORDER_LINES: Final = 2
MAX_COUNT_LINES: Final = 2
FOOT_LINES: Final = MAX_COUNT_LINES + 1 + BORDER_LINES
FRAME_COLUMNS: Final = 4
"""A panel's border and padding, left and right."""

WIDE_COLUMNS: Final = 100
"""From here on images and dead letters stand beside the posts, not below them."""

READY: Final = "ready"
"""The state of a worker that consumes."""

VERDICT_COLOURS: Final = {"ok": "green", "defect": "bold bright_red"}


@dataclass
class View:
    """What the screen shows.

    Attributes:
        title: of the story.
        broker: address, and what it is.
        labels: names in the label set's order.
        tally: the bookkeeping.
        status: what is going on, one line.
        started_at: seconds since the epoch.
        waiting: what the workers are busy with before they are ready, by lane.
        coming: the first posts, shown until there are labels.
    """

    title: str
    broker: str
    labels: Sequence[str]
    tally: Tally
    status: str
    started_at: float
    waiting: dict[str, str]
    coming: Sequence[str] = ()

    def colour(self, label: str | None) -> str:
        """Give a label's colour."""
        return COLOURS[self.labels.index(label) % len(COLOURS)] if label in self.labels else "grey62"


def render(view: View, now: float, width: int, height: int) -> RenderableType:
    """Draw everything into `width` × `height` cells."""
    states = _states(view)
    head = Group(_title(view, now, width), _flow(view), *states)
    rows = max(8, height - 2 - len(states) - FOOT_LINES - BORDER_LINES)
    if width < WIDE_COLUMNS:
        images, dead = (4, 3) if rows > 20 else (3, 2)
        labels = max(2, rows - images - dead - 2 * BORDER_LINES)
        return Group(
            head, _labels(view, labels), _matches(view, images), _dead(view, dead), _foot(view, now, width)
        )
    grid = Table.grid(expand=True)
    grid.add_column(ratio=3)
    grid.add_column(ratio=2)
    images = (rows - BORDER_LINES) * 3 // 5
    right = Group(_matches(view, images), _dead(view, rows - BORDER_LINES - images))
    grid.add_row(_labels(view, rows), right)
    return Group(head, grid, _foot(view, now, width))


def _title(view: View, now: float, width: int) -> Text:
    elapsed = int(now - view.started_at)
    left = Text.assemble(("feedsight demo", "bold"), f" · {view.title}")
    right = f"{view.status}  {elapsed // 60:02d}:{elapsed % 60:02d}"
    left.append(" " * max(2, width - left.cell_len - len(right)))
    left.append(right, "cyan")
    left.truncate(width)
    return left


def _flow(view: View) -> Text:
    return Text.assemble(
        ("posts", "bold"),
        " and ",
        ("images", "bold"),
        " → Kafka → workers → ",
        ("labels", "bold"),
        ", ",
        ("verdicts", "bold"),
        " and ",
        ("dead letters", "bold"),
        " → Kafka, each exactly once    ",
        (view.broker, "dim"),
        overflow="ellipsis",
        no_wrap=True,
    )


def _states(view: View) -> list[Text]:
    """Say what the workers do until all are ready."""
    if all(state == READY for state in view.waiting.values()):
        return []
    return [
        Text(f"  {lane} worker: {state}", "green" if state == READY else "yellow", no_wrap=True)
        for lane, state in view.waiting.items()
    ]


def _bar(share: float, colour: str) -> Text:
    full = round(share * BAR_CELLS)
    return Text.assemble(("━" * full, colour), ("─" * (BAR_CELLS - full), "grey30"))


def _panel(content: RenderableType, title: str, rows: int) -> Panel:
    return Panel(content, title=title, border_style="blue", height=rows + BORDER_LINES)


def _labels(view: View, rows: int) -> Panel:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(width=max(12, *(len(name) for name in view.labels)), no_wrap=True)
    table.add_column(width=BAR_CELLS, no_wrap=True)
    table.add_column(width=4, justify="right", no_wrap=True)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    if not view.tally.labels:
        for text in view.coming[:rows]:
            table.add_row(Text("…", "dim"), "", "", Text(_line(text), "dim"))
        return _panel(table, "posts to come", rows)
    for seen in list(view.tally.labels)[: -rows - 1 : -1]:
        colour = view.colour(seen.label)
        table.add_row(
            Text(seen.label or UNSURE, colour),
            _bar(seen.probability, colour),
            f"{seen.probability:.0%}",
            Text(_line(seen.text), "dim" if seen.label in (None, "off topic") else ""),
        )
    return _panel(table, "posts, newest first", rows)


def _line(text: str) -> str:
    """Put a text on one line."""
    return " ".join(text.split())


def _matches(view: View, rows: int) -> Panel:
    title = "images of circuit boards"
    if not view.tally.matches:
        return _panel(Text("each is compared with a good one of its kind", "dim italic"), title, rows)
    table = Table.grid(padding=(0, 1), expand=True)
    for width in (9, 6, 4):
        table.add_column(min_width=width, no_wrap=True)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for seen in list(view.tally.matches)[: -rows - 1 : -1]:
        verdict = Text(seen.verdict, VERDICT_COLOURS.get(seen.verdict, "yellow"))
        table.add_row(seen.id, verdict, f"{seen.score:.2f}", _brief_places(seen))
    return _panel(table, title, rows)


def _places(seen: MatchSeen) -> str:
    against = f"against {Path(seen.compared_with).stem}" if seen.compared_with else ""
    if not seen.regions or seen.largest is None:
        return against
    x1, y1, x2, y2 = seen.largest
    places = "1 place" if seen.regions == 1 else f"{seen.regions} places"
    return f"{places}, worst at ({x1},{y1})–({x2},{y2})"


def _brief_places(seen: MatchSeen) -> str:
    """What fits beside the posts: how many places differ, and where the worst is."""
    if not seen.regions or seen.largest is None:
        return _places(seen)
    x1, y1, _, _ = seen.largest
    return f"{seen.regions} place{'s' if seen.regions != 1 else ''}, at {x1},{y1}"


def _dead(view: View, rows: int) -> Panel:
    if not view.tally.dead_letters:
        nothing_yet = Text("broken input will stand here; its neighbours go on", "dim italic")
        return _panel(nothing_yet, "dead letters", rows)
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for seen in list(view.tally.dead_letters)[: -rows - 1 : -1]:
        table.add_row(Text(seen.reason, "red"), Text(_line(seen.about)))
    return _panel(table, "dead letters", rows)


def _foot(view: View, now: float, width: int) -> RenderableType:
    tally = view.tally
    counts = [(f"{label} {tally.label_counts[label]}", view.colour(label)) for label in view.labels]
    lines = [Text(no_wrap=True, overflow="ellipsis")]
    for count, colour in [*counts, (f"{UNSURE} {tally.label_counts[UNSURE]}", "grey62")]:
        gap = "   " if lines[-1] else ""
        full = lines[-1].cell_len + len(gap) + len(count) > width - FRAME_COLUMNS
        if full and len(lines) < MAX_COUNT_LINES:
            lines.append(Text(no_wrap=True, overflow="ellipsis"))
            gap = ""
        lines[-1].append(gap + count, colour)
    summed = Text(numbers(tally, now), no_wrap=True, overflow="ellipsis")
    return Panel(Group(*lines, summed), border_style="grey50")


def numbers(tally: Tally, now: float) -> str:
    """Sum up in one line."""
    parts = [
        f"in {tally.sent}",
        f"results {tally.results}",
        f"dead letters {tally.dead}",
        f"open {tally.unanswered}",
        f"{tally.rate(now):,.0f}/s",
    ]
    p50, p99 = tally.percentile(0.5), tally.percentile(0.99)
    if p50 is not None and p99 is not None:
        parts.append(f"p50 {p50 * 1_000:,.0f} ms")
        parts.append(f"p99 {p99 * 1_000:,.0f} ms")
    return " · ".join(parts)


def plain(seen: object) -> str | None:
    """Say in one line what was seen, for an output that is no terminal."""
    if isinstance(seen, LabelSeen):
        return f"label   {seen.label or UNSURE:<13} {seen.probability:4.0%}  {_line(seen.text)}"
    if isinstance(seen, MatchSeen):
        return f"match   {seen.verdict:<13} {seen.score:4.2f}  {seen.id} {_places(seen)}"
    if isinstance(seen, DeadLetterSeen):
        topic, partition, offset = seen.source
        return (
            f"dead    {seen.reason:<13}       {seen.about} ({topic}, partition {partition}, offset {offset})"
        )
    if isinstance(seen, LabelsChanged):
        return f"-- {change(seen)}"
    return None


def change(seen: LabelsChanged) -> str:
    """Say in one line what was changed while the stream ran."""
    return f"new label {seen.added!r}: version {seen.version} in force after {seen.after_s * 1_000:.0f} ms"
