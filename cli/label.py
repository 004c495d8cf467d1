"""`feedsight label`: label posts without a broker, a line of JSON for each."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.options import ConfigOption, fail, read_settings

if TYPE_CHECKING:
    from config import TextSettings


COVERAGE_NEEDS_A_SAMPLE: Final = (
    "abstain.coverage can't be kept without a sample of the stream (--adapt FILE): every post gets a label"
)


class UnknownFieldsChoice(StrEnum):
    """What becomes of a field that a post does not have."""

    reject = "reject"
    ignore = "ignore"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def label(
        posts: Annotated[
            list[str],
            typer.Argument(
                metavar="POSTS.jsonl|FILE.txt|DIR|-",
                help="JSON lines; a text file or folder of them, a document each; or - for standard input.",
                show_default=False,
            ),
        ],
        labels: Annotated[
            Path | None, typer.Option(metavar="L.yaml", help="The label set.", show_default=False)
        ] = None,
        examples: Annotated[
            Path | None,
            typer.Option(
                metavar="E.jsonl", help="Labelled examples: text and label a line.", show_default=False
            ),
        ] = None,
        adapt: Annotated[
            Path | None,
            typer.Option(
                metavar="U.jsonl", help="Unlabelled posts of the stream to adapt to.", show_default=False
            ),
        ] = None,
        model: Annotated[
            str | None,
            typer.Option(
                metavar="sentence|static|cascade",
                help="Or a sentence-transformers name or folder.",
                show_default=False,
            ),
        ] = None,
        explain: Annotated[bool, typer.Option("--explain", help="Add the words that counted most.")] = False,
        lines: Annotated[bool, typer.Option("--lines", help="Text input is one post a line.")] = False,
        unknown_fields: Annotated[
            UnknownFieldsChoice, typer.Option(help="What becomes of fields that a post does not have.")
        ] = UnknownFieldsChoice.reject,
        threads: Annotated[
            int | None, typer.Option(min=0, help="Threads of the model.", show_default=False)
        ] = None,
        config: ConfigOption = None,
    ) -> None:
        """Label posts; one JSON line for each on standard output, in order.

        A post that can't be labelled gets {"id", "error": {"reason", "detail"}, "line"} in its place.
        Exit status: 0 all done, 1 some inputs failed, 2 usage or configuration.

        Examples:
          feedsight label --labels news.yaml posts.jsonl > results.jsonl
          feedsight label --labels news.yaml --examples some.jsonl posts.jsonl
          tail -f feed.jsonl | feedsight label --labels news.yaml --model static -
        """
        given = {"labels": labels, "model": model, "threads": threads, "explain": explain or None}
        settings = read_settings(config, {"text": given}).text
        raise typer.Exit(_label(settings, posts, examples, adapt, lines=lines, unknown=unknown_fields.value))


def _label(
    settings: "TextSettings",
    posts: list[str],
    examples: Path | None,
    adapt: Path | None,
    *,
    lines: bool,
    unknown: str,
) -> int:
    """Run the command; gives the exit status."""
    import os
    import sys

    from cli.label_run import LabelRun
    from cli.label_sample import abstains_by_coverage, sample_inputs
    from cli.post_inputs import InputError, PostReader
    from workers.errors import FatalError
    from workers.text.samples import read_examples, read_unlabelled
    from workers.text.worker import create_text_worker

    try:
        sample: list[str] = []
        if adapt is not None:
            sample, skipped = read_unlabelled(adapt)
            if skipped:
                typer.echo(f"feedsight: {adapt}: {skipped} lines passed over", err=True)
        reader = PostReader(posts, lines=lines)
        seen: list[str] = []
        if not sample and abstains_by_coverage(settings.labels):
            seen = sample_inputs(posts, lines=lines)
            if not seen:
                typer.echo(f"feedsight: {COVERAGE_NEEDS_A_SAMPLE}", err=True)
        worker = create_text_worker(settings, read_examples(examples) if examples else (), sample, seen)
        worker.load()
        run = LabelRun(worker, reader, unknown_fields="ignore" if unknown == "ignore" else "reject")
        return run.to(sys.stdout.buffer)
    except (FatalError, InputError) as error:
        raise fail(str(error), 2) from error
    except BrokenPipeError:
        # The reader has gone; the interpreter would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
