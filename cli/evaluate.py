"""`feedsight eval`: how good labels are, by number of examples, ours and others side by side."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.options import fail

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from workers.text.heads.base import LabelSpace
    from workers.text.heads.trials import Collection, Contestant, Score
    from workers.text.models import SentenceEncoder

FIGURES: Final = ("accuracy", "macro_f1", "calibration_error", "coverage", "fit_s")
"""Of a trial, in the order of the table."""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("eval")
    def evaluate(
        posts: Annotated[Path, typer.Argument(metavar="POSTS.jsonl", help="Posts with text and label.")],
        labels: Annotated[Path, typer.Option(metavar="L.yaml", help="The label set.")],
        field: Annotated[str, typer.Option(help="The field that holds the true label.")] = "label",
        shots: Annotated[str, typer.Option(help="Numbers of examples a label.")] = "0,8,64",
        seeds: Annotated[int, typer.Option(min=1, help="Draws to average.")] = 5,
        heads: Annotated[str, typer.Option(help="Heads to judge, by name.")] = "product",
        compare: Annotated[bool, typer.Option("--compare", help="All heads, and peers.")] = False,
        across: Annotated[
            str | None, typer.Option(metavar="FIELD", help="Learn from some events, judge on others.")
        ] = None,
        adapt: Annotated[bool, typer.Option("--adapt/--no-adapt", help="Use unlabelled posts.")] = True,
        precision: Annotated[float, typer.Option(min=0, max=1, help="At which coverage is given.")] = 0.9,
        model: Annotated[str, typer.Option(help="sentence, or a sentence-transformers name or folder.")] = (
            "sentence"
        ),
        threads: Annotated[int, typer.Option(min=0, help="Threads of the model; 0: all.")] = 0,
        limit: Annotated[int | None, typer.Option(min=2, help="Posts to use, evenly spread.")] = None,
        plot: Annotated[
            Path | None, typer.Option(metavar="FILE.png", help="Draw the confusion matrix.")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    ) -> None:
        """Measure how well a label set labels posts whose label is known.

        Half of the posts are held out in each draw; examples come from the other half, whose rest is the
        unlabelled sample. Posts whose label isn't in the set are left out, and counted on stderr.

        Exit status: 0 done, 2 usage or configuration.

        Examples:
          feedsight eval news.jsonl --labels news.yaml --shots 0,8,64 --compare
          feedsight eval tweets.jsonl --labels kinds.yaml --across event --plot c.png
        """
        from workers.errors import FatalError

        try:
            counts = [int(part) for part in shots.split(",")]
            if min(counts) < 0:
                raise ValueError
        except ValueError as error:
            raise fail(f"--shots takes numbers such as 0,8,64, not {shots!r}", 2) from error
        try:
            space, collection, source = _read(posts, labels, field, across, model, threads, limit)
            judged = _contestants(heads.split(","), source, compare=compare)
            scores = _run(judged, space, collection, counts, seeds, adapt=adapt, precision=precision)
        except FatalError as error:
            raise fail(error.detail, 2) from error
        _report(scores, space.names, precision, as_json=as_json)
        if plot is not None:
            _plot(scores, space.names, plot)


def _read(
    posts: Path, labels: Path, field: str, across: str | None, model: str, threads: int, limit: int | None
) -> tuple["LabelSpace", "Collection", str]:
    """Read and embed all there is; gives the model's source too."""
    import numpy as np

    from workers.errors import FatalError
    from workers.text.heads.base import LabelSpace
    from workers.text.heads.phrases import frame
    from workers.text.heads.trials import Collection
    from workers.text.label_set import load_label_set
    from workers.text.lane import read_knowledge
    from workers.text.models import SentenceEncoder

    knowledge = read_knowledge(load_label_set(labels), (), ())
    indices = {name: index for index, name in enumerate(knowledge.names)}
    lines = _lines(posts)
    rows = [
        row for row in lines if isinstance(row.get(field), str) and row[field] in indices and row.get("text")
    ]
    if len(rows) < len(lines):
        typer.echo(f"feedsight: {len(lines) - len(rows)} posts left out: no {field} of the set", err=True)
    if limit is not None and len(rows) > limit:
        rows = [rows[i * len(rows) // limit] for i in range(limit)]
    if len(rows) < 4:
        raise FatalError(f"{posts}: {len(rows)} posts have a {field} that is in the label set; 4 are needed")
    encoder = SentenceEncoder(model, threads=threads)
    encoder.load()
    space = LabelSpace(
        knowledge.names,
        knowledge.phrases,
        np.array(knowledge.phrase_labels, np.int64),
        knowledge.phrase_kinds,
        encoder.encode(knowledge.phrases),
        frame(encoder.encode, knowledge.phrases),
    )
    collection = Collection(
        [row["text"] for row in rows],
        embed_whole(encoder, [row["text"] for row in rows]),
        np.array([indices[row[field]] for row in rows], np.int64),
        None if across is None else [str(row.get(across)) for row in rows],
    )
    return space, collection, encoder.source


def embed_whole(encoder: "SentenceEncoder", texts: Sequence[str]) -> "NDArray[np.float32]":
    """Embed texts, long ones by the mean of their windows; float32, shape (n, d), unit rows."""
    import numpy as np

    tokens = encoder.tokenise(texts)
    rows = encoder.encode_tokens(tokens)
    for index, ids in enumerate(tokens):
        if len(ids) >= encoder.max_tokens:
            windows = [window.ids for window in encoder.windows(texts[index])]
            mean = np.array([len(window) for window in windows], np.float32) @ encoder.encode_tokens(windows)
            rows[index] = mean / max(float(np.linalg.norm(mean)), 1e-12)
    return rows


def _lines(path: Path) -> list[Mapping[str, Any]]:
    from workers.errors import FatalError

    found: list[Mapping[str, Any]] = []
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    found.append(json.loads(line))
                    if not isinstance(found[-1], dict):
                        raise FatalError(f"{path}, line {number}: not a JSON object")
    except (OSError, UnicodeDecodeError) as error:
        raise FatalError(f"{path} can't be read: {error}") from error
    except json.JSONDecodeError as error:
        raise FatalError(f"{path}, line {number}: not JSON") from error
    return found


def _contestants(names: Sequence[str], source: str, *, compare: bool) -> list["Contestant"]:
    from functools import partial

    from workers.text.heads.peers import installed_peers
    from workers.text.heads.registry import NEEDS_VECTORS, create_head, head_names
    from workers.text.heads.trials import HeadContestant

    if compare:
        names = [name for name in head_names() if name not in NEEDS_VECTORS]
    for name in names:
        create_head(name)
    found: list[Contestant] = [HeadContestant(name, partial(create_head, name)) for name in names]
    return found + installed_peers(source) if compare else found


def _run(
    judged: Sequence["Contestant"],
    space: "LabelSpace",
    collection: "Collection",
    counts: Sequence[int],
    seeds: int,
    *,
    adapt: bool,
    precision: float,
) -> dict[tuple[str, int], list["Score"]]:
    from cli.progress import Progress
    from workers.text.heads.trials import draw_posts, run_trial

    scores: dict[tuple[str, int], list[Score]] = {}
    with Progress("trials") as progress:
        for shots in counts:
            for seed in range(seeds):
                draw = draw_posts(collection, shots, seed, adapt=adapt)
                for one in judged:
                    if shots >= one.least_shots:
                        score = run_trial(one, space, collection, draw, precision)
                        scores.setdefault((one.name, shots), []).append(score)
                        progress.advance(1)
    return scores


def _report(
    scores: Mapping[tuple[str, int], Sequence["Score"]],
    names: Sequence[str],
    precision: float,
    *,
    as_json: bool,
) -> None:
    import numpy as np

    rows = []
    for (head, shots), trials in scores.items():
        values = {figure: [getattr(trial, figure) for trial in trials] for figure in FIGURES}
        figures = {
            figure: {"mean": float(np.mean(each)), "std": float(np.std(each))}
            for figure, each in values.items()
        }
        table = np.sum([trial.confusion for trial in trials], axis=0)
        rows.append({"head": head, "shots": shots, **figures, "confusion": table.tolist()})
    if as_json:
        typer.echo(json.dumps({"labels": list(names), "precision": precision, "results": rows}))
        return
    typer.echo(
        f"{'head':26} {'shots':>5}  {'accuracy':>12}  {'macro F1':>12}  {'ECE':>6}  "
        f"{f'cov@{100 * precision:.0f}':>6}  {'fit s':>6}"
    )
    for row in rows:
        shown = [f"{100 * row[f]['mean']:5.1f} ± {100 * row[f]['std']:4.1f}" for f in FIGURES[:2]]
        typer.echo(
            f"{row['head']:26} {row['shots']:>5}  {shown[0]:>12}  {shown[1]:>12}  "
            f"{row['calibration_error']['mean']:6.3f}  {100 * row['coverage']['mean']:6.1f}  "
            f"{row['fit_s']['mean']:6.2f}"
        )
    last = rows[-1] if len({row["head"] for row in rows}) == 1 else _last_of_first(rows)
    typer.echo(f"\nof {last['head']} with {last['shots']} examples, % of each true label (rows):")
    width = max(map(len, names))
    typer.echo(" " * width + "".join(f"{name[:8]:>9}" for name in names))
    for name, counts in zip(names, last["confusion"], strict=True):
        total = max(sum(counts), 1)
        typer.echo(f"{name:{width}}" + "".join(f"{100 * count / total:9.1f}" for count in counts))


def _last_of_first(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The row of the first head with the most examples."""
    return [row for row in rows if row["head"] == rows[0]["head"]][-1]


def _plot(scores: Mapping[tuple[str, int], Sequence["Score"]], names: Sequence[str], path: Path) -> None:
    import numpy as np

    from cli.evaluate_picture import draw_confusion

    head, _ = next(iter(scores))
    shots = max(number for name, number in scores if name == head)
    table = np.sum([trial.confusion for trial in scores[head, shots]], axis=0)
    title = f"{head}, {shots} examples a label: % of each true label (rows)"
    try:
        draw_confusion(table, names, title, path)
    except (OSError, ValueError) as error:
        raise fail(f"{path} can't be written: {error}", 2) from error
