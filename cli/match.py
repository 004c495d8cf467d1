"""`feedsight match`: judge images without a broker, a line of JSON for each."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import ConfigOption, fail, read_settings

if TYPE_CHECKING:
    from config import ImageSettings


class ModeName(StrEnum):
    """What a match means."""

    similarity = "similarity"
    defect = "defect"
    compare = "compare"
    signature = "signature"
    uniqueness = "uniqueness"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def match(
        images: Annotated[
            list[str],
            typer.Argument(
                metavar="IMAGES...|DIR|MANIFEST.jsonl|-",
                help="Images, folders of images, manifests, or - for a manifest on standard input.",
                show_default=False,
            ),
        ],
        mode: Annotated[ModeName | None, typer.Option(help="What a match means.", show_default=False)] = None,
        references: Annotated[
            Path | None,
            typer.Option(
                metavar="DIR|MANIFEST.jsonl", help="What images are judged against.", show_default=False
            ),
        ] = None,
        threshold: Annotated[
            float | None,
            typer.Option(help="The score from which the verdict turns; calibrated if left out."),
        ] = None,
        top: Annotated[
            int | None, typer.Option(help="Neighbours in each result.", show_default=False)
        ] = None,
        margin: Annotated[
            int | None,
            typer.Option(
                metavar="PIXELS", help="compare: how much wider than a flaw its box is.", show_default=False
            ),
        ] = None,
        heatmaps: Annotated[
            Path | None,
            typer.Option(metavar="DIR", help="Write pictures of the heat maps here.", show_default=False),
        ] = None,
        model: Annotated[str | None, typer.Option(help="The image model.", show_default=False)] = None,
        config: ConfigOption = None,
    ) -> None:
        """Match images; one JSON line for each on standard output, in order.

        A manifest line: {"id", "path", "subject"?, "reference"?, "sha256"?}, paths relative to the manifest.
        An image that can't be judged gets {"id", "error": {"reason", "detail"}} in its place.
        Exit status: 0 all done, 1 some inputs failed, 2 usage or configuration.

        Examples:
          feedsight match --mode defect --references good/ line7/*.jpg
          feedsight match --mode compare --references boards/ pairs.jsonl > out.jsonl
          feedsight match --mode uniqueness photos/ | head
        """
        given = {
            "mode": mode.value if mode else None,
            "references": references,
            "threshold": threshold,
            "top": top,
            "margin_px": margin,
            "model": model,
        }
        settings = read_settings(config, {"image": given}).image
        raise typer.Exit(_match(settings, images, heatmaps))


def _match(settings: "ImageSettings", images: list[str], heatmaps: Path | None) -> int:
    """Run the command; gives the exit status."""
    import os
    import sys

    from cli.match_run import MatchRun, UsageError
    from workers.errors import FatalError

    try:
        return MatchRun(settings, images, heatmaps).to(sys.stdout.buffer)
    except (FatalError, UsageError) as error:
        raise fail(str(error), 2) from error
    except BrokenPipeError:
        # The reader has gone; the interpreter would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
