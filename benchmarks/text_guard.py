"""Does adapting without an example ever hurt? The product head against plain zero-shot with the same labels.

    python benchmarks/text_guard.py [--sets ag_news,bbc_news]

Each collection with descriptions and with bare names; single events; and streams of which the labels cover a
part. All posts of a case are the unlabelled sample, and those of its labels are judged.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from text_heads import load
from text_label_sets import BENCHMARKS

from workers.text.heads.base import Embeddings, Examples, LabelSpace
from workers.text.heads.metrics import accuracy, macro_f1
from workers.text.heads.registry import create_head
from workers.text.models import SentenceEncoder

MOST_POSTS = 3_000


def keep(space: LabelSpace, phrases: NDArray[np.bool_], labels: NDArray[np.int64]) -> LabelSpace:
    """Keep some labels, in the order given, and of those some phrases."""
    chosen = [i for i in range(len(phrases)) if phrases[i] and space.phrase_labels[i] in labels]
    return LabelSpace(
        tuple(space.names[i] for i in labels),
        tuple(space.phrases[i] for i in chosen),
        np.array([list(labels).index(space.phrase_labels[i]) for i in chosen]),
        tuple(space.phrase_kinds[i] for i in chosen),
        space.phrase_embeddings[chosen],
        None if space.framed_embeddings is None else space.framed_embeddings[chosen],
    )


def gain(
    space: LabelSpace, stream: Embeddings, posts: Embeddings, truth: NDArray[np.int64]
) -> tuple[float, float]:
    """Points of accuracy and macro F1 over plain zero-shot."""
    nothing = Examples(posts[:0], truth[:0])
    found = []
    for name in ("product", "zero_shot"):
        head = create_head(name)
        head.fit(space, nothing, stream)
        found.append(head.predict_proba(posts).argmax(axis=1))
    ours, plain = found
    count = len(space.names)
    return (
        100 * (accuracy(ours, truth) - accuracy(plain, truth)),
        100 * (macro_f1(ours, truth, count) - macro_f1(plain, truth, count)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "feedsight" / "benchmarks")
    parser.add_argument("--sets", default=",".join(BENCHMARKS))
    asked = parser.parse_args()
    encoder = SentenceEncoder(threads=1)
    encoder.load()
    gains: list[tuple[float, float]] = []

    def judge(what: str, *case: object) -> None:
        gains.append(gain(*case))  # type: ignore[arg-type]
        print(json.dumps({"case": what, "accuracy": gains[-1][0], "macro_f1": gains[-1][1]}), flush=True)

    for name in asked.sets.split(","):
        space, posts = load(BENCHMARKS[name], encoder, asked.cache)
        chosen = np.random.default_rng(0).permutation(len(posts.labels))[:MOST_POSTS]
        rows, labels = posts.embeddings[chosen], posts.labels[chosen]
        everything = np.arange(len(space.names))
        is_name = np.array(space.phrase_kinds) == "name"
        judge(name, space, rows, rows, labels)
        judge(f"{name}, bare names", keep(space, is_name, everything), rows, rows, labels)
        for event in sorted(set(posts.groups or ())):
            own = np.array(posts.groups) == event
            judge(f"{name}, {event}", space, posts.embeddings[own], posts.embeddings[own], posts.labels[own])
        for seed in range(4 if len(everything) == 20 else 0):
            part = np.random.default_rng(seed).permutation(20)[:5]
            own = np.isin(labels, part)
            truth = np.array([list(part).index(label) for label in labels[own]])
            judge(f"{name}, part {seed}", keep(space, is_name | True, part), rows, rows[own], truth)
    table = np.array(gains)
    print(
        f"{len(table)} cases: mean {table.mean(axis=0).round(1)}, worst {table.min(axis=0).round(1)}, "
        f"below -0.5: {(table < -0.5).sum(axis=0)} (accuracy, macro F1), "
        f"both {(table < -0.5).all(axis=1).sum()}"
    )


if __name__ == "__main__":
    main()
