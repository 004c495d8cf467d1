"""`feedsight eval`: how good labels are, by number of examples, ours and others side by side."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.evaluate_lanes import LANES, choose_lanes
from cli.evaluate_posts import read_posts
from cli.options import fail

if TYPE_CHECKING:
    from cli.evaluate_table import Row
    from workers.text.heads.base import LabelSpace
    from workers.text.heads.trials import Collection, Contestant
    from workers.text.heads.whitening import Matrix
    from workers.text.models import SentenceEncoder

HEADS: Final = ("product",)
"""Judged where nothing else is said."""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("eval")
    def evaluate(
        posts: Annotated[Path, typer.Argument(metavar="POSTS.jsonl", help="Posts with text and label.")],
        labels: Annotated[Path, typer.Option(metavar="L.yaml", help="The label set.")],
        field: Annotated[str, typer.Option(help="The field that holds the true label.")] = "label",
        shots: Annotated[str, typer.Option(help="Numbers of examples a label.")] = "0,8,64",
        seeds: Annotated[int, typer.Option(min=1, help="Draws to average.")] = 5,
        heads: Annotated[
            str | None, typer.Option(metavar="NAMES", help="Heads to judge; product where left out.")
        ] = None,
        compare: Annotated[
            bool, typer.Option("--compare", help="All heads, and all peers that are installed.")
        ] = False,
        peers: Annotated[
            str | None,
            typer.Option(
                metavar="NAMES", help="These peers: logistic_regression, tfidf_logistic_regression, setfit."
            ),
        ] = None,
        nli: Annotated[
            str | None, typer.Option(metavar="FOLDER", help="An NLI model, as a peer without examples.")
        ] = None,
        vectors: Annotated[
            Path | None,
            typer.Option(metavar="V.kv", help="Word vectors: the heads zmap and zmap_wmap."),
        ] = None,
        lanes: Annotated[
            str | None, typer.Option(metavar="NAMES", help="Judge these lanes too: static, cascade.")
        ] = None,
        across: Annotated[
            str | None, typer.Option(metavar="FIELD", help="Learn from some events, judge on others.")
        ] = None,
        adapt: Annotated[bool, typer.Option("--adapt/--no-adapt", help="Use unlabelled posts.")] = True,
        precision: Annotated[float, typer.Option(min=0, max=1, help="At which coverage is given.")] = 0.9,
        model: Annotated[str, typer.Option(help="sentence, or a sentence-transformers name or folder.")] = (
            "sentence"
        ),
        threads: Annotated[int, typer.Option(min=0, help="Threads of the model; 0: all.")] = 0,
        limit: Annotated[int | None, typer.Option(min=4, help="Posts to use, evenly spread.")] = None,
        plot: Annotated[
            Path | None, typer.Option(metavar="FILE.png", help="Draw the confusion matrix.")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    ) -> None:
        """Measure how well a label set labels posts whose label is known.

        Half of the posts are held out in each draw; examples come from the other half, whose rest is the
        unlabelled sample. The label set's own examples are known besides. Posts whose label isn't in the
        set are left out, and counted on stderr. SetFit takes minutes for 8 examples a label without a GPU,
        and far more for 64.

        Exit status: 0 done, 1 one of the heads or peers failed, 2 usage or configuration.

        Examples:
          feedsight eval news.jsonl --labels news.yaml --shots 0,8,64 --compare
          feedsight eval news.jsonl --labels news.yaml --shots 8 --seeds 2 --peers setfit
          feedsight eval news.jsonl --labels news.yaml --compare --vectors word2vec.kv --nli ./bart-mnli
          feedsight eval news.jsonl --labels news.yaml --lanes static,cascade
          feedsight eval tweets.jsonl --labels kinds.yaml --across event --plot c.png
        """
        from cli.evaluate_table import as_json as to_json
        from cli.evaluate_table import best_informed, heading, line_of, print_confusions
        from workers.errors import FatalError
        from workers.text.encoders import Encoders
        from workers.text.heads.peers import choose_peers
        from workers.text.label_set import load_label_set

        counts = _counts(shots)
        if plot is not None and not plot.absolute().parent.is_dir():
            raise fail(f"{plot} can't be written: there is no such folder", 2)
        try:
            label_set = load_label_set(labels)
            chosen = None if heads is None else _names(heads)
            if chosen is None:
                chosen = None if compare else HEADS
            others = _names(peers) if peers is not None else (None if compare else ())
            if model in LANES:
                raise FatalError(f"--model {model} is a lane: --lanes {model} judges it beside the others")
            encoders = Encoders(model, threads=threads)
            encoder = encoders.sentence
            judged = _heads(chosen, None)  # a wrong name is said before minutes of work
            judged += choose_lanes(_names(lanes or ""), encoders)
            judged += choose_peers(others, encoder.source, nli)
            encoder.load()
            space, collection = read_posts(posts, label_set, encoder, field=field, across=across, limit=limit)
            if vectors is not None:
                judged += _heads(("zmap", "zmap_wmap"), _mapping(vectors, encoder))
        except FatalError as error:
            raise fail(error.detail, 2) from error
        rows = []
        failed: list[str] = []
        if not as_json:
            typer.echo(heading(precision))
        for row in _rows(judged, space, collection, counts, seeds, failed, adapt=adapt, precision=precision):
            rows.append(row)
            if not as_json:
                typer.echo(line_of(row))
        if as_json:
            typer.echo(to_json(rows, space.names, precision))
        elif rows:
            print_confusions(best_informed(rows), space.names)
        if plot is not None and rows:
            _plot(best_informed(rows), space.names, plot)
        if failed:
            raise typer.Exit(1)


def _names(listed: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in listed.split(",") if name.strip())


def _counts(shots: str) -> list[int]:
    try:
        counts = [int(part) for part in shots.split(",")]
        if min(counts) < 0:
            raise ValueError
    except ValueError as error:
        raise fail(f"--shots takes numbers such as 0,8,64, not {shots!r}", 2) from error
    return list(dict.fromkeys(counts))


def _heads(names: Sequence[str] | None, mapping: "Matrix | None") -> list["Contestant"]:
    """Our heads by name; all that need no word vectors where no name is given."""
    from functools import partial

    from workers.text.heads.registry import NEEDS_VECTORS, create_head, head_names
    from workers.text.heads.trials import HeadContestant

    if names is None:
        names = [name for name in head_names() if name not in NEEDS_VECTORS]
    found: list[Contestant] = []
    for name in names:
        create = partial(create_head, name.removeprefix("zmap_"), mapping=mapping)
        create()
        found.append(HeadContestant(name, create))
    return found


def _mapping(vectors: Path, encoder: "SentenceEncoder") -> "Matrix":
    """Fit the map from sentence space to the space of word vectors (`zmap`)."""
    import numpy as np

    from cli.progress import say
    from cli.vectors import read_vectors
    from workers.text.heads.zmap import DEFAULT_RIDGE, fit_zmap, select_words

    words, rows = read_vectors(vectors)
    usable = select_words(words)
    say(f"embedding {len(usable)} words ...")
    return fit_zmap(encoder.encode([words[i] for i in usable]), np.asarray(rows)[usable], DEFAULT_RIDGE)


def _rows(
    judged: Sequence["Contestant"],
    space: "LabelSpace",
    collection: "Collection",
    counts: Sequence[int],
    seeds: int,
    failed: list[str],
    *,
    adapt: bool,
    precision: float,
) -> Iterator["Row"]:
    """Judge each in turn and give rows as they are done; one that fails goes into `failed`."""
    from cli.evaluate_table import row_of
    from cli.progress import say
    from workers.errors import FatalError
    from workers.text.heads.trials import draw_posts, run_trial

    for shots in counts:
        draws = [draw_posts(collection, shots, seed, adapt=adapt) for seed in range(seeds)]
        for one in judged:
            if shots < one.least_shots or one.name in failed:
                continue
            trials = []
            try:
                for number, draw in enumerate(draws, 1):
                    if one.slow:
                        say(f"{one.name}, {shots} examples, draw {number} of {seeds} ...")
                    trials.append(run_trial(one, space, collection, draw, precision))
            except FatalError as error:
                typer.echo(f"feedsight: {one.name} is left out: {error.detail}", err=True)
                failed.append(one.name)
            else:
                yield row_of(one.name, shots, trials)


def _plot(row: "Row", names: Sequence[str], path: Path) -> None:
    import numpy as np

    from cli.evaluate_picture import draw_confusion

    title = f"{row['head']}, {row['shots']} examples a label: % of each true label (rows)"
    try:
        draw_confusion(np.array(row["confusion"], np.int64), names, title, path)
    except (OSError, ValueError) as error:
        raise fail(f"{path} can't be written: {error}", 2) from error
