"""The table of docs/benchmarks/text.md: heads and peers on the evaluation sets, by number of examples.

    python benchmarks/text_heads.py [--sets ag_news,bbc_news] [--shots 0,8,64] [--peers] [--no-adapt]
    python benchmarks/text_heads.py --heads product,setfit --pairs 20 --judge 500 --seeds 2 ...

Embeddings are kept under --cache, so that only the first run takes minutes.
"""

import argparse
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from text_label_sets import BENCHMARKS, DATA, Benchmark

from cli.evaluate_posts import embed_whole
from workers.text.heads.base import LabelSpace, PhraseKind
from workers.text.heads.metrics import average_precision
from workers.text.heads.peers import SETFIT_PAIRS, LogisticRegressionPeer, SetFitPeer, choose_peers
from workers.text.heads.phrases import frame
from workers.text.heads.registry import NEEDS_VECTORS, create_head, head_names
from workers.text.heads.trials import Collection, Contestant, Draw, HeadContestant, draw_posts, run_trial
from workers.text.models import BUNDLED_NAME, SentenceEncoder


def load(benchmark: Benchmark, encoder: SentenceEncoder, cache: Path) -> tuple[LabelSpace, Collection]:
    """Read a collection, and embed it once."""
    names = tuple(benchmark.labels)
    rows = [json.loads(line) for line in (DATA / benchmark.file).open(encoding="utf-8")]
    kept = cache / f"{benchmark.file.split('/')[0]}-wide.npy"
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        np.save(kept, embed_whole(encoder, [row["text"] for row in rows]))
    known = [i for i, row in enumerate(rows) if row[benchmark.field] in names]
    phrases = [
        (text, index, first)
        for index, (name, more) in enumerate(benchmark.labels.items())
        for first, text in ((True, name.replace("_", " ")), *((False, text) for text in more))
    ]
    texts = tuple(text for text, _, _ in phrases)
    kinds: tuple[PhraseKind, ...] = tuple("name" if first else "description" for _, _, first in phrases)
    space = LabelSpace(
        names,
        texts,
        np.array([index for _, index, _ in phrases]),
        kinds,
        encoder.encode(texts),
        frame(encoder.encode, texts),
    )
    groups = None if benchmark.across is None else [rows[i][benchmark.across] for i in known]
    labels = np.array([names.index(rows[i][benchmark.field]) for i in known])
    return space, Collection([rows[i]["text"] for i in known], np.load(kept)[known], labels, groups)


def relevance(encoder: SentenceEncoder, cache: Path) -> None:
    """Judge whether posts of crisis_events are related to the event, after its first 50 posts."""
    labels: dict[str, tuple[str, ...]] = {
        "informative": (
            "about the disaster: flood, fire, earthquake, storm, explosion, shooting, victims and relief",
        ),
        "unrelated": ("something else: personal chat, advertising, entertainment, sports",),
    }
    both = Benchmark("crisis_events/posts.jsonl", "relevance", labels, "event")
    space, posts = load(both, encoder, cache)
    rows = [json.loads(line) for line in (DATA / both.file).open(encoding="utf-8")]
    everything = np.load(cache / "crisis_events-wide.npy")
    events = np.array([row["event"] for row in rows])
    unrelated = np.array([row["relevance"] == "unrelated" for row in rows])
    judged: list[Contestant] = [HeadContestant("product", create_head), LogisticRegressionPeer()]
    judged.append(HeadContestant("zero_shot", partial(create_head, "zero_shot")))
    found: dict[str, list[float]] = {one.name: [] for one in judged}
    posts = Collection([row["text"] for row in rows], everything, unrelated.astype(np.int64))
    for event in sorted(set(events)):
        places = np.flatnonzero(events == event)
        first, rest = places[:50], places[50:]
        if len(set(unrelated[first])) < 2:
            print(f"relevance, {event}: no unrelated post among the first 50, left out")
            continue
        draw = Draw(first, rest, rest)
        for one in judged:
            probabilities, _ = one.judge(space, posts, draw)
            found[one.name].append(average_precision(probabilities[:, 1], unrelated[rest]))
    for name, values in found.items():
        print(f"relevance, average precision of unrelated posts, {name:20} {100 * np.mean(values):5.1f}")


def contestants(names: str | None, pairs: int, *, peers: bool) -> list[Contestant]:
    """Name those who are judged: all heads and peers, some of them, or the usual three."""
    heads = [name for name in head_names() if name not in NEEDS_VECTORS]
    if peers:
        ours: list[Contestant] = [HeadContestant(name, partial(create_head, name)) for name in heads]
        return [*ours, *choose_peers(None, BUNDLED_NAME)]
    wanted = (names or "product,zero_shot,logistic_regression").split(",")
    found: list[Contestant] = []
    for name in wanted:
        if name in heads:
            found.append(HeadContestant(name, partial(create_head, name)))
        elif name == SetFitPeer.name:
            found.append(SetFitPeer(BUNDLED_NAME, pairs))
        else:
            found += choose_peers([name], BUNDLED_NAME)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", default=",".join(BENCHMARKS))
    parser.add_argument("--shots", default="0,8,64")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--heads", help="which of all heads and peers, in place of the usual three")
    parser.add_argument("--pairs", type=int, default=SETFIT_PAIRS, help="of SetFit, for an example")
    parser.add_argument("--judge", type=int, help="held-out posts judged at most")
    parser.add_argument("--no-adapt", action="store_true")
    parser.add_argument("--whole", action="store_true", help="adapt to the held-out posts too, unlabelled")
    parser.add_argument("--relevance", action="store_true")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "feedsight" / "benchmarks")
    chosen = parser.parse_args()
    encoder = SentenceEncoder(threads=chosen.threads)
    encoder.load()
    judged = contestants(chosen.heads, chosen.pairs, peers=chosen.peers)
    if chosen.relevance:
        relevance(encoder, chosen.cache)
        return
    print(f"{'set':24}{'shots':>5}  {'head':28}{'accuracy':>12}{'macro F1':>12}{'ECE':>7}{'fit s':>7}")
    for name in chosen.sets.split(","):
        space, posts = load(BENCHMARKS[name], encoder, chosen.cache)
        for shots in map(int, chosen.shots.split(",")):
            draws = [
                draw_posts(posts, shots, seed, adapt=not chosen.no_adapt) for seed in range(chosen.seeds)
            ]
            if chosen.judge:
                draws = [replace(draw, held_out=draw.held_out[: chosen.judge]) for draw in draws]
            if chosen.whole:
                everything = np.arange(len(posts.labels))
                draws = [Draw(d.examples, np.setdiff1d(everything, d.examples), d.held_out) for d in draws]
            for one in judged:
                if shots < one.least_shots:
                    continue
                scores = [run_trial(one, space, posts, draw, 0.9) for draw in draws]
                accuracies = [100 * score.accuracy for score in scores]
                f1 = [100 * score.macro_f1 for score in scores]
                error = np.mean([score.calibration_error for score in scores])
                took = np.mean([score.fit_s for score in scores])
                print(
                    f"{name:24}{shots:5}  {one.name:28}{np.mean(accuracies):6.1f} ± {np.std(accuracies):3.1f}"
                    f"{np.mean(f1):6.1f} ± {np.std(f1):3.1f}{error:7.3f}{took:7.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
