"""`feedsight eval-images`: how well images of a kind find each other, by layer and metric."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import fail

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from workers.image.decode import Decoder
    from workers.image.evaluation.trials import Trial


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("eval-images")
    def evaluate_images(
        images: Annotated[
            Path, typer.Argument(metavar="DIR|MANIFEST.jsonl", help="A folder for each class, or labels.")
        ],
        layers: Annotated[
            str | None, typer.Option(metavar="L,L", help="Layers, such as block4,head.", show_default=False)
        ] = None,
        k: Annotated[int, typer.Option("-k", min=1, help="Neighbours that count for the precision.")] = 10,
        model: Annotated[str, typer.Option(help="The image model.")] = "efficientnet-lite0",
        threads: Annotated[int, typer.Option(min=0, help="Threads of the model; 0: all.")] = 0,
        limit: Annotated[
            int | None, typer.Option(min=2, help="Images to use, evenly spread.", show_default=False)
        ] = None,
        plot: Annotated[
            Path | None, typer.Option(metavar="FILE.png", help="Draw the search scores.", show_default=False)
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    ) -> None:
        """Search each labelled image among the others, and say what was found.

        The first row is what the similarity mode does. Search score: the share of the right class among the
        first 15, the first counting 15 times, the last once; `of` is the highest that the sizes of the
        classes allow. Images that can't be read are left out, and counted on stderr.

        Exit status: 0 done, 2 usage or configuration.

        Examples:
          feedsight eval-images products/
          feedsight eval-images products/ --layers block10,head --plot layers.png
        """
        from workers.errors import FatalError

        try:
            trials, labels = _run(images, layers, k, model, threads, limit)
        except FatalError as error:
            raise fail(error.detail, 2) from error
        if as_json:
            from dataclasses import asdict

            rows = [asdict(trial) for trial in trials]
            typer.echo(
                json.dumps({"images": len(labels), "classes": len(set(labels)), "k": k, "results": rows})
            )
        else:
            _print(trials, labels, k)
        if plot is not None:
            from cli.evaluate_images_picture import draw_trials

            try:
                draw_trials(trials, f"{images.name}: search score by layer and metric", plot)
            except (OSError, ValueError) as error:
                raise fail(f"{plot} can't be written: {error}", 2) from error


def _run(
    images: Path, layers: str | None, k: int, model: str, threads: int, limit: int | None
) -> tuple[list["Trial"], list[str]]:
    from cli.progress import Progress
    from config import ImageSettings
    from workers.errors import FatalError, MessageError
    from workers.image.decode import Decoder
    from workers.image.embedding import SEARCH
    from workers.image.evaluation.trials import LAYERS, run_trials
    from workers.image.models import load_backbone
    from workers.image.references import reference_entries

    settings = ImageSettings()
    decoder = Decoder(settings.max_bytes, settings.max_pixels, SEARCH.side_px)
    entries = [entry for entry in reference_entries(images) if entry.line.label is not None]
    if limit is not None and len(entries) > limit:
        entries = [entries[i * len(entries) // limit] for i in range(limit)]
    kept, bad = [], 0
    for entry in entries:
        try:
            _decoded(decoder, entry.path)
        except (MessageError, OSError):
            bad += 1
        else:
            kept.append(entry)
    if bad:
        typer.echo(f"feedsight: {bad} images left out: they can't be read", err=True)
    labels = [str(entry.line.label) for entry in kept]
    if len(set(labels)) < 2:
        raise FatalError(f"{images}: images of two classes or more are needed, a folder for each")
    readers = [partial(_decoded, decoder, entry.path) for entry in kept]
    chosen = LAYERS if layers is None else tuple(part.strip() for part in layers.split(","))
    with Progress("images") as progress:
        return run_trials(readers, labels, load_backbone(model, threads), chosen, k, progress.advance), labels


def _decoded(decoder: "Decoder", path: Path) -> "NDArray[np.uint8]":
    return decoder.decode(path.read_bytes()).pixels


def _print(trials: Sequence["Trial"], labels: Sequence[str], k: int) -> None:
    typer.echo(
        f"{len(labels)} images, {len(set(labels))} classes\n\n{'':22}{'metric':<11}{f'prec@{k}':>8}"
        f"{'score':>8}{'of':>7}{'embed ms':>10}{'search ms':>11}{'bytes':>8}{'all MB':>8}"
    )
    for trial in trials:
        typer.echo(
            f"{trial.name:22}{trial.metric:<11}{100 * trial.precision:8.1f}{trial.score:8.1f}"
            f"{trial.attainable:7.1f}{trial.embedding_ms:10.1f}{trial.search_ms:11.2f}"
            f"{trial.bytes_an_image:8}{trial.bytes_an_image * len(labels) / 2**20:8.1f}"
        )
