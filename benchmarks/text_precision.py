"""Is precision asked for precision got? Thresholds as a worker chooses them, judged on held-out posts.

python benchmarks/text_precision.py [--sets ag_news] [--shots 64] [--seeds 3]
"""

import argparse
from pathlib import Path

import numpy as np
from text_heads import load
from text_label_sets import BENCHMARKS

from schemas import Abstain
from workers.text.heads.abstain import choose_threshold
from workers.text.heads.base import Examples
from workers.text.heads.product import ProductHead
from workers.text.heads.trials import draw_posts
from workers.text.models import SentenceEncoder

MOST_POSTS = 2_000
"""Of the stream, that a threshold is chosen on."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", default=",".join(BENCHMARKS))
    parser.add_argument("--shots", default="0,64")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "feedsight" / "benchmarks")
    chosen = parser.parse_args()
    encoder = SentenceEncoder(threads=1)
    encoder.load()
    asked = (0.8, 0.9, 0.95)
    print(f"{'set':24}{'shots':>5}   " + "".join(f"{f'{100 * p:.0f} %: got, of posts':>24}" for p in asked))
    for name in chosen.sets.split(","):
        space, posts = load(BENCHMARKS[name], encoder, chosen.cache)
        for shots in map(int, chosen.shots.split(",")):
            kept: list[list[int]] = [[] for _ in asked]
            right: list[list[int]] = [[] for _ in asked]
            total = 0
            for seed in range(chosen.seeds):
                draw = draw_posts(posts, shots, seed)
                head = ProductHead()
                unlabelled = posts.embeddings[draw.unlabelled]
                examples = Examples(posts.embeddings[draw.examples], posts.labels[draw.examples])
                head.fit(space, examples, unlabelled)
                stream = head.predict_proba(unlabelled[:MOST_POSTS]).max(axis=1)
                sure = good = None
                if head.validation is not None:
                    sure = head.validation.probabilities.max(axis=1)
                    good = head.validation.probabilities.argmax(axis=1) == head.validation.labels
                found = head.predict_proba(posts.embeddings[draw.held_out])
                hits = found.argmax(axis=1) == posts.labels[draw.held_out]
                total += len(hits)
                for i, precision in enumerate(asked):
                    above = found.max(axis=1) >= choose_threshold(
                        Abstain(precision=precision), stream, sure, good
                    )
                    kept[i].append(int(above.sum()))
                    right[i].append(int(hits[above].sum()))
            cells = []
            for k, r in zip(kept, right, strict=True):
                got = f"{100 * sum(r) / sum(k):.1f}" if sum(k) else "none"
                cells.append(f"{got}, {100 * np.sum(k) / total:.0f} %")
            print(f"{name:24}{shots:5}   " + "".join(f"{cell:>24}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
