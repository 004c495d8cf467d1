"""Where the demonstration is shown: a live screen on a terminal, plain lines elsewhere; and the summary."""

import sys
import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.live import Live

from cli.showcase.screen import READY, View, change, numbers, plain, render
from cli.showcase.story import BURST
from cli.showcase.tally import LabelSeen

STATUS_EVERY_S: Final = 5.0
"""Between two lines of numbers where there is no live screen."""


class LiveReporter:
    """Draws the screen in place."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._live = Live(console=self._console, auto_refresh=False, screen=False, vertical_overflow="crop")

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def seen(self, what: object) -> None:
        """The next picture shows it."""

    def frame(self, view: View, now: float) -> None:
        """Draw."""
        width, height = self._console.size
        self._live.update(render(view, now, width, height - 1), refresh=True)


class LineReporter:
    """Writes a line for each thing seen, and the numbers now and then."""

    def __init__(self) -> None:
        self._status = ""
        self._waiting: dict[str, str] = {}
        self._next = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.stdout.flush()

    def seen(self, what: object) -> None:
        """Write its line; a burst is too fast to be read."""
        if isinstance(what, LabelSeen) and what.id.startswith(BURST):
            return
        line = plain(what)
        if line is not None:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    def frame(self, view: View, now: float) -> None:
        """Write what has changed in the state, and the numbers when it is time."""
        if not self._status:
            sys.stdout.write(f"feedsight demo: {view.title}, on {view.broker}\n")
        if view.status != self._status:
            self._status = view.status
            sys.stdout.write(f"-- {view.status}\n")
        due = time.monotonic() >= self._next
        if due:
            self._next = time.monotonic() + STATUS_EVERY_S
            if view.tally.sent:
                sys.stdout.write(f"-- {numbers(view.tally, now)}\n")
        for lane, state in view.waiting.items():
            changed = state.partition(" (")[0] != self._waiting.get(lane, "").partition(" (")[0]
            if changed or (due and state != READY):
                sys.stdout.write(f"-- {lane} worker: {state}\n")
                self._waiting[lane] = state
        sys.stdout.flush()


def summary(view: View, published: int, *, embedded: bool) -> str:
    """Sum up what was shown, and say what to do next."""
    tally = view.tally
    lost = tally.unanswered + max(0, published - tally.sent)
    verdicts = ", ".join(f"{count} {name}" for name, count in tally.verdict_counts.most_common())
    reasons = ", ".join(f"{count} {name}" for name, count in tally.reason_counts.most_common())
    lines = [
        "",
        f"{published:,} inputs: {tally.results:,} results, {tally.dead} dead letters, "
        f"{lost} lost, {tally.doubled} double",
    ]
    p50, p99 = tally.percentile(0.5), tally.percentile(0.99)
    if p50 is not None and p99 is not None:
        lines.append(f"from produce to committed answer: p50 {p50 * 1_000:.0f} ms, p99 {p99 * 1_000:.0f} ms")
    burst = tally.burst_rate()
    if burst is not None:
        lines.append(f"the burst of {len(tally.burst_answers):,} posts: {burst:,.0f} posts/s, committed")
    if tally.changed is not None:
        lines.append(f"while it ran: {change(tally.changed)}, workers not restarted")
    lines += [f"images: {verdicts or 'none'}", f"dead letters: {reasons or 'none'}", "", "Next:"]
    lines.append(
        "  feedsight labels apply LABELS.yaml --wait --kafka HOST:PORT      labels, changed while workers run"
    )
    if embedded:
        lines.append("  feedsight demo --kafka HOST:PORT      the same on your own Kafka")
    lines.append("  feedsight label --labels examples/storm/labels.yaml YOUR_POSTS.jsonl      without Kafka")
    lines.append("  feedsight worker text --labels LABELS.yaml --kafka HOST:PORT      a worker of your own")
    return "\n".join(lines)
