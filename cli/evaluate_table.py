"""The table of `feedsight eval`: a row for each head and number of examples."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    from workers.text.heads.trials import Score

FIGURES: Final = ("accuracy", "macro_f1", "calibration_error", "coverage", "fit_s")
"""Of a trial, in the order of the table."""

WIDEST_NAME: Final = 26
"""Of a head or peer."""

Row = Mapping[str, Any]


def heading(precision: float) -> str:
    """The line above the rows."""
    return (
        f"{'head':{WIDEST_NAME}} {'shots':>5}  {'accuracy':>12}  {'macro F1':>12}  {'ECE':>6}  "
        f"{f'cov@{100 * precision:.0f}':>6}  {'fit s':>7}"
    )


def row_of(head: str, shots: int, trials: Sequence["Score"]) -> Row:
    """Average one head's trials with one number of examples; the confusions are summed."""
    import numpy as np

    values = {figure: [getattr(trial, figure) for trial in trials] for figure in FIGURES}
    figures = {
        figure: {"mean": float(np.mean(each)), "std": float(np.std(each))} for figure, each in values.items()
    }
    table = np.sum([trial.confusion for trial in trials], axis=0)
    return {"head": head, "shots": shots, **figures, "confusion": table.tolist()}


def line_of(row: Row) -> str:
    """A row as text, shares in percent."""
    shown = [f"{100 * row[f]['mean']:5.1f} ± {100 * row[f]['std']:4.1f}" for f in FIGURES[:2]]
    return (
        f"{row['head']:{WIDEST_NAME}} {row['shots']:>5}  {shown[0]:>12}  {shown[1]:>12}  "
        f"{row['calibration_error']['mean']:6.3f}  {100 * row['coverage']['mean']:6.1f}  "
        f"{row['fit_s']['mean']:7.2f}"
    )


def best_informed(rows: Sequence[Row]) -> Row:
    """The row of the first head with the most examples: the one whose confusions are shown."""
    return max((row for row in rows if row["head"] == rows[0]["head"]), key=lambda row: int(row["shots"]))


def print_confusions(row: Row, names: Sequence[str]) -> None:
    """Print which labels are taken for which, in percent of each true label."""
    typer.echo(f"\nof {row['head']} with {row['shots']} examples, % of each true label (rows):")
    width = max(map(len, names))
    typer.echo(" " * width + "".join(f"{name[:8]:>9}" for name in names))
    for name, counts in zip(names, row["confusion"], strict=True):
        total = max(sum(counts), 1)
        typer.echo(f"{name:{width}}" + "".join(f"{100 * count / total:9.1f}" for count in counts))


def as_json(rows: Sequence[Row], names: Sequence[str], precision: float) -> str:
    """All of it as one JSON object."""
    return json.dumps({"labels": list(names), "precision": precision, "results": list(rows)})
