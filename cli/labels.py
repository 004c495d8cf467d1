"""`feedsight labels`: label sets, looked over, put in force on running workers, and taken back."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.labels_history import diff, history, show
from cli.labels_live import apply, promote, remove, rollback
from cli.learn import fit
from cli.options import fail

if TYPE_CHECKING:
    from workers.text.lint import LintWarning


def register(app: typer.Typer) -> None:
    """Add the command."""
    labels = typer.Typer(
        help="Check label sets, and change them while the workers run.", no_args_is_help=True
    )

    @labels.callback()
    def _root() -> None:
        """Check label sets, and change them while the workers run."""

    labels.command()(lint)
    for command in (apply, show, history, diff, rollback, promote, remove, fit):
        labels.command()(command)
    app.add_typer(labels, name="labels")


def lint(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A label set, YAML or JSON.")],
    by_meaning: Annotated[
        bool, typer.Option("--by-meaning", help="Ask the sentence model, too, what is alike (seconds).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Look a label set over: what is wrong in it, with the line, and what would make it better.

    Exit status: 0 nothing wrong (advice may stand), 1 problems, 2 the file is not there.

    Examples:
      feedsight labels lint news.yaml
      feedsight labels lint news.yaml --by-meaning
    """
    raise typer.Exit(_lint(file, by_meaning=by_meaning, as_json=as_json))


def _lint(file: Path, *, by_meaning: bool, as_json: bool) -> int:
    """Run the command; gives the exit status."""
    from stream.topics import TopicNames
    from workers.text.label_set import LabelSetError, load_label_set
    from workers.text.lint import lint

    if not file.is_file():
        raise fail(f"label set {file} does not exist", 2)
    try:
        label_set = load_label_set(file, TopicNames().all())
    except LabelSetError as error:
        _say("problem", error.detail, (), error.line, as_json=as_json)
        return 1
    found = lint(label_set)
    if by_meaning:
        from workers.errors import FatalError
        from workers.text.lint_meaning import lint_meaning
        from workers.text.models import SentenceEncoder

        encoder = SentenceEncoder()
        try:
            encoder.load()
        except FatalError as error:
            raise fail(error.detail, 2) from error
        found += [one for one in lint_meaning(label_set, encoder.encode) if _is_news(one, found)]
    for warning in found:
        message = warning.message if as_json else f"{file}: {warning.message}"
        _say(warning.severity, message, warning.labels, None, as_json=as_json)
    if not found and not as_json:
        count = len(label_set.labels)
        typer.echo(f"{file}: {count} label{'s' if count != 1 else ''}, nothing to say against")
    return 1 if any(warning.severity == "problem" for warning in found) else 0


def _is_news(warning: "LintWarning", found: "Sequence[LintWarning]") -> bool:
    """Whether nothing was said yet of these labels together."""
    return all(set(warning.labels) != set(other.labels) for other in found if len(other.labels) > 1)


def _say(severity: str, message: str, labels: tuple[str, ...], line: int | None, *, as_json: bool) -> None:
    if as_json:
        facts = {"severity": severity, "labels": labels, "line": line, "message": message}
        typer.echo(json.dumps(facts, ensure_ascii=False))
    else:
        typer.echo(f"{severity}: {message}")
