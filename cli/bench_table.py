"""How a benchmark's report is printed: a table for people, JSON for a file."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson
import typer

if TYPE_CHECKING:
    from rich.table import Table

    from stream.bench.contest import Report, Row

UNITS: Final = {
    "per_s": ("/s", ",.0f"),
    "posts_per_s": ("posts/s", ",.0f"),
    "cpu_us": ("CPU µs each", ",.1f"),
    "cpu_us_per_post": ("CPU µs each", ",.1f"),
    "first_result_s": ("first result, s", ".1f"),
    "resident_mb": ("resident, MB", ",.0f"),
    "broker_cores": ("broker, cores", ".2f"),
    "accuracy": ("accuracy", ".1%"),
    "p50_ms": ("p50, ms", ",.2f"),
    "p99_ms": ("p99, ms", ",.2f"),
    "longest_ms": ("longest, ms", ",.1f"),
    "missing": ("missing", ",.0f"),
    "recall": ("recall@10", ".3f"),
    "build_s": ("built in, s", ",.1f"),
}
"""Heading and format of each figure; others are not printed, but kept in the JSON."""


def show(report: "Report", json_file: Path | None) -> None:
    """Print the table, and write the JSON where it is wanted; `-` is stdout, and no table then."""
    if json_file is not None:
        text = orjson.dumps(report.to_dict(), option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY)
        if str(json_file) == "-":
            typer.echo(text.decode())
            return
        json_file.write_bytes(text + b"\n")
    from rich.console import Console

    from stream.bench.hardware import machine_line

    console = Console(file=sys.stdout, soft_wrap=True, width=None if sys.stdout.isatty() else 160)
    console.print(report.title, style="bold")
    console.print(machine_line(report.machine), style="dim")
    console.print(_table(report, [row for row in report.rows if row.median("p99_ms") is None]))
    timed = [row for row in report.rows if row.median("p99_ms") is not None]
    if timed:
        console.print(_table(report, timed))
    for name, value in report.facts.items():
        console.print(f"{name}: {value}", highlight=False)
    for row in report.rows:
        if row.failed is not None:
            console.print(f"{row.name} could not run: {row.failed}", style="red", highlight=False)


def _table(report: "Report", rows: "Sequence[Row]") -> "Table":
    """Throughput stands in one table, latency in another."""
    from rich.box import SIMPLE
    from rich.table import Table

    figures = [name for name in UNITS if any(row.median(name) is not None for row in rows)]
    compared = all(row.median("p99_ms") is None for row in rows)
    table = Table(box=SIMPLE, show_edge=False)
    table.add_column("", no_wrap=True)
    for name in figures:
        table.add_column(UNITS[name][0], justify="right")
        if name == report.figure and compared:
            table.add_column("lowest–highest", justify="right", no_wrap=True)
            table.add_column(f"{report.rows[0].name} / this", justify="right")
    for row in rows:
        cells = [cell for name in figures for cell in _cells(report, row, name, compared)]
        table.add_row(row.name, *cells)
    return table


def _cells(report: "Report", row: "Row", name: str, compared: bool) -> list[str]:
    form = UNITS[name][1]
    median = row.median(name)
    cells = ["–" if median is None else format(median, form)]
    if name == report.figure and compared:
        spread = row.spread(name)
        cells.append("–" if spread is None else f"{spread[0]:{form}}–{spread[1]:{form}}")
        ratio = report.ratio(report.rows[0].name, row.name)
        cells.append("–" if ratio is None else f"{ratio:.2f}")
    return cells
