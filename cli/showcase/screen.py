"""The screen: what came in, what came out, how fast."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli.showcase.tally import DeadLetterSeen, LabelSeen, MatchSeen, Tally

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
    """

    title: str
    broker: str
    labels: Sequence[str]
    tally: Tally
    status: str
    started_at: float
    waiting: dict[str, str]

    def colour(self, label: str | None) -> str:
        """Give a label's colour."""
        return COLOURS[self.labels.index(label) % len(COLOURS)] if label in self.labels else "grey62"


def render(view: View, now: float, width: int, height: int) -> RenderableType:
    """Draw everything into `width` × `height` cells."""
    rows = max(4, height - 11)
    head = Group(_title(view, now, width), _flow(view))
    if width < 100:
        labels = max(3, rows - 12)
        return Group(head, _labels(view, labels), _matches(view, 4), _dead(view, 3), _foot(view, now))
    grid = Table.grid(expand=True)
    grid.add_column(ratio=3)
    grid.add_column(ratio=2)
    images = max(3, (rows - 2) * 3 // 5)
    right = Group(_matches(view, images), _dead(view, max(2, rows - 2 - images)))
    grid.add_row(_labels(view, rows), right)
    return Group(head, grid, _foot(view, now))


def _title(view: View, now: float, width: int) -> Text:
    elapsed = int(now - view.started_at)
    left = Text.assemble(("feedsight demo", "bold"), f" · {view.title}")
    right = f"{view.status}  {elapsed // 60:02d}:{elapsed % 60:02d}"
    left.append(" " * max(2, width - left.cell_len - len(right)))
    left.append(right, "cyan")
    left.truncate(width)
    return left


def _flow(view: View) -> RenderableType:
    lines = [
        Text.assemble(
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
    ]
    for lane, state in view.waiting.items():
        lines.append(
            Text(f"  {lane} worker: {state}", "yellow" if state != "ready" else "green", no_wrap=True)
        )
    return Group(*lines)


def _bar(share: float, colour: str) -> Text:
    full = round(share * BAR_CELLS)
    return Text.assemble(("█" * full, colour), ("░" * (BAR_CELLS - full), "grey35"))


def _labels(view: View, rows: int) -> Panel:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(width=max(12, *(len(name) for name in view.labels)), no_wrap=True)
    table.add_column(width=BAR_CELLS, no_wrap=True)
    table.add_column(width=4, justify="right", no_wrap=True)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for seen in list(view.tally.labels)[: -rows - 1 : -1]:
        colour = view.colour(seen.label)
        table.add_row(
            Text(seen.label or "(unsure)", colour),
            _bar(seen.probability, colour),
            f"{seen.probability:.0%}",
            Text(" ".join(seen.text.split()), "dim" if seen.label in (None, "off topic") else ""),
        )
    _fill(table, rows, len(view.tally.labels), "the first post is on its way …")
    return Panel(table, title="posts, newest first", border_style="blue")


def _matches(view: View, rows: int) -> Panel:
    table = Table.grid(padding=(0, 1), expand=True)
    for width in (9, 7, 6):
        table.add_column(min_width=width, no_wrap=True)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for seen in list(view.tally.matches)[: -rows - 1 : -1]:
        table.add_row(
            seen.id,
            Text(seen.verdict, VERDICT_COLOURS.get(seen.verdict, "yellow")),
            f"{seen.score:.2f}",
            _places(seen),
        )
    _fill(table, rows, len(view.tally.matches), "the first image is on its way …")
    return Panel(table, title="images of circuit boards", border_style="blue")


def _places(seen: MatchSeen) -> str:
    against = f"against {seen.compared_with}" if seen.compared_with else ""
    if not seen.regions or seen.largest is None:
        return against
    x1, y1, x2, y2 = seen.largest
    places = "1 place" if seen.regions == 1 else f"{seen.regions} places"
    return f"{places}, worst at ({x1},{y1})–({x2},{y2})"


def _dead(view: View, rows: int) -> Panel:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for seen in list(view.tally.dead_letters)[: -rows - 1 : -1]:
        table.add_row(Text(seen.reason, "red"), Text(seen.about))
    _fill(table, rows, len(view.tally.dead_letters), "broken input will stand here; its neighbours go on")
    return Panel(table, title="dead letters", border_style="blue")


def _fill(table: Table, rows: int, shown: int, nothing_yet: str) -> None:
    """Keep a table's height, so that the screen stands still."""
    if not shown:
        cells = [Text("")] * (len(table.columns) - 1)
        table.add_row(*cells, Text(nothing_yet, "dim italic"))
        shown = 1
    for _ in range(rows - min(rows, shown)):
        table.add_row()


def _foot(view: View, now: float) -> RenderableType:
    tally = view.tally
    shares = Text(no_wrap=True, overflow="ellipsis")
    for label in view.labels:
        shares.append(f"{label} ", view.colour(label))
        shares.append(f"{tally.label_counts[label]}   ")
    return Panel(Group(shares, Text(numbers(tally, now))), border_style="grey50")


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
        return (
            f"label   {seen.label or '(unsure)':<13} {seen.probability:4.0%}  {' '.join(seen.text.split())}"
        )
    if isinstance(seen, MatchSeen):
        return f"match   {seen.verdict:<13} {seen.score:4.2f}  {seen.id} {_places(seen)}"
    if isinstance(seen, DeadLetterSeen):
        topic, partition, offset = seen.source
        return (
            f"dead    {seen.reason:<13}       {seen.about} ({topic}, partition {partition}, offset {offset})"
        )
    return None
