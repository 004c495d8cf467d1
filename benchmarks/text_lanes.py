"""The lanes side by side: accuracy, agreement with the sentence lane, posts/s on one core.

    python benchmarks/text_lanes.py POSTS.jsonl LABELS.yaml [ADAPT]

ADAPT posts are the unlabelled sample (their labels are never read). A post's time covers tokenising,
inference and building the result; models are loaded and fitted before.
"""

import json
import random
import sys
import time
from pathlib import Path

from config import TextSettings
from workers.text.label_set import load_label_set
from workers.text.parse import parse_post
from workers.text.worker import TextWorker


def main(posts_path: Path, labels_path: Path, adapt: int, limit: int = 4_000) -> None:
    posts = [parse_post(line, unknown_fields="ignore") for line in posts_path.open("rb")]
    random.Random(0).shuffle(posts)
    posts = posts[:limit]
    label_set = load_label_set(labels_path)
    sample = tuple(post.text for post in posts[:adapt])
    answers: dict[str, list[str | None]] = {}
    rates: dict[str, float] = {}
    for model in ("sentence", "static", "cascade"):
        worker = TextWorker(TextSettings(model=model, threads=1), label_set, (), sample)
        began = time.perf_counter()
        worker.load()
        loading = time.perf_counter() - began
        best = 0.0
        for _ in range(1 if model == "sentence" else 3):
            worker.campaigns[0].forget()
            began = time.perf_counter()
            results = [
                r
                for i in range(0, len(posts), 1_024)
                for r in worker.run(worker.prepare(posts[i : i + 1_024]))
            ]
            best = max(best, len(posts) / (time.perf_counter() - began))
        answers[model] = [result.label for result in results]
        rates[model] = best
        right = sum(a == post.label for a, post in zip(answers[model], posts, strict=True))
        agree = sum(a == b for a, b in zip(answers[model], answers["sentence"], strict=True))
        facts = {
            "model": model,
            "accuracy": round(100 * right / len(posts), 1),
            "agreement": round(100 * agree / len(posts), 1),
            "posts_per_s": round(best),
            "times_sentence": round(best / rates["sentence"], 1),
            "load_and_fit_s": round(loading, 1),
        }
        print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0)
