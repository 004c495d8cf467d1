"""Contestants in turn, round by round, and what is said of them: medians, spread, ratios."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

from stream.bench.hardware import machine


@dataclass(frozen=True)
class Contestant:
    """One of those that are compared.

    Attributes:
        name: as it stands in the table.
        run: measures it once, from start to end; gives figures by name, the first of them the one that is
            compared, in units a second.
    """

    name: str
    run: Callable[[], dict[str, float]]


@dataclass(frozen=True)
class Row:
    """What one contestant did.

    Attributes:
        name: the contestant's.
        rounds: its figures, a dict a round; none where it could not run.
        failed: why it could not.
    """

    name: str
    rounds: list[dict[str, float]] = field(default_factory=list)
    failed: str | None = None

    def median(self, figure: str) -> float | None:
        """The median of a figure over the rounds that have it."""
        found = [one[figure] for one in self.rounds if figure in one]
        return statistics.median(found) if found else None

    def spread(self, figure: str) -> tuple[float, float] | None:
        """The lowest and the highest."""
        found = [one[figure] for one in self.rounds if figure in one]
        return (min(found), max(found)) if found else None


@dataclass(frozen=True)
class Report:
    """A run as it is printed and kept.

    Attributes:
        title: what was measured.
        figure: the figure that is compared, such as `posts_per_s`.
        rows: in the order they ran.
        machine: hardware and versions.
        settings: what the run was asked for.
        facts: figures that belong to no row, by name.
    """

    title: str
    figure: str
    rows: list[Row]
    machine: dict[str, object] = field(default_factory=machine)
    settings: dict[str, object] = field(default_factory=dict)
    facts: dict[str, object] = field(default_factory=dict)

    def row(self, name: str) -> Row | None:
        """The row of a contestant."""
        return next((row for row in self.rows if row.name == name), None)

    def ratio(self, name: str, other: str) -> float | None:
        """How many times as fast `name` is as `other`: the median of the ratios of each round."""
        one, two = self.row(name), self.row(other)
        if one is None or two is None:
            return None
        pairs = zip(one.rounds, two.rounds, strict=False)
        ratios = [a[self.figure] / b[self.figure] for a, b in pairs if b.get(self.figure)]
        return statistics.median(ratios) if ratios else None

    def to_dict(self) -> dict[str, object]:
        """All of it, for JSON; with the medians beside the rounds."""
        whole = asdict(self)
        for row, kept in zip(self.rows, whole["rows"], strict=True):
            names = dict.fromkeys(name for one in row.rounds for name in one)
            kept["median"] = {name: row.median(name) for name in names}
        return whole


def take_turns(contestants: Sequence[Contestant], rounds: int, said: Callable[[str], None]) -> list[Row]:
    """Run the contestants in turn, round by round, so that a machine that drifts drifts for all.

    One that fails is not run again; the others go on.

    Args:
        contestants: each warms up by itself.
        rounds: of each.
        said: told of progress.
    """
    found: dict[str, Row] = {contestant.name: Row(contestant.name) for contestant in contestants}
    for turn in range(1, rounds + 1):
        for contestant in contestants:
            row = found[contestant.name]
            if row.failed is not None:
                continue
            try:
                figures = contestant.run()
            except RuntimeError as error:
                found[contestant.name] = Row(row.name, row.rounds, str(error))
                said(f"round {turn}  {contestant.name:<22} failed: {error}")
                continue
            row.rounds.append(figures)
            first, value = next(iter(figures.items()))
            said(f"round {turn}  {contestant.name:<22} {value:>10,.1f} {first.replace('_per_', '/')}")
    return list(found.values())
