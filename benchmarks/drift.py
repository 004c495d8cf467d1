"""How often drift is told of where there is none, how soon where there is some; which bursts are found.

    python benchmarks/drift.py --data ../shared/data [--posts 1000000] [--cache FOLDER]

Embeds ag_news and crisis_events once with the sentence model (25 s on one core).
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from config import BurstSettings, DriftSettings
from workers.text.bursts import BurstFinder
from workers.text.bursts_story import Seen
from workers.text.campaign_watch import known_of
from workers.text.drift import Drift, DriftMonitor
from workers.text.duplicates import fingerprint
from workers.text.encoders import Encoders
from workers.text.label_set import load_label_set
from workers.text.lane import SentenceLane, read_knowledge

BATCH = 50
LABELS = Path(__file__).parents[1] / "config/labels"
SETTINGS = DriftSettings(block_s=0)


class Posts:
    """A collection as a lane sees it: best label, its probability, novelty and embedding of each post."""

    def __init__(self, data: Path, name: str, labels: str, cache: Path | None) -> None:
        with (data / name / "posts.jsonl").open(encoding="utf-8") as lines:
            self.rows = [json.loads(line) for line in lines]
        label_set = load_label_set(LABELS / labels)
        self.labels = [label.name for label in label_set.labels]
        kept = cache / f"{name}.npz" if cache else None
        if kept and kept.exists():
            arrays = np.load(kept)
            self.probabilities, self.embeddings, self.novelty = (arrays[key] for key in "pen")
            return
        encoders = Encoders("sentence", threads=1)
        encoders.load()
        lane = SentenceLane(encoders)
        fitted = lane.fit(read_knowledge(label_set, (), ()))
        found = []
        for start in range(0, len(self.rows), 500):
            texts = [row["text"] for row in self.rows[start : start + 500]]
            found.append(lane.predict(encoders.batch(texts), np.arange(len(texts))))
        self.probabilities = np.concatenate([one.probabilities for one in found])
        self.embeddings = np.concatenate([one.embeddings for one in found])
        self.novelty = 1 - (self.embeddings @ known_of(fitted).T).max(axis=1)
        if kept:
            np.savez(kept, p=self.probabilities, e=self.embeddings, n=self.novelty)

    def feed(
        self, monitor: DriftMonitor, order: np.ndarray, threshold: float = 0.3
    ) -> Iterator[tuple[int, Drift]]:
        """Feed posts in an order; yields (posts fed, drift)."""
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            sure = self.probabilities[rows].max(axis=1)
            given = np.where(sure >= threshold, self.probabilities[rows].argmax(axis=1), -1)
            drift = monitor.observe(
                given, sure, self.novelty[rows], self.embeddings[rows].mean(axis=0), float(start)
            )
            if drift is not None:
                yield start + len(rows), drift


def false_alarms(news: Posts, posts: int) -> None:
    runs, told = max(posts // 50_000, 1), 0
    began = time.process_time()
    for seed in range(runs):
        order = np.random.default_rng(seed).integers(0, len(news.rows), 50_000)
        told += len(list(news.feed(DriftMonitor(news.labels, SETTINGS), order)))
    total = runs * 50_000
    print(
        f"ag_news, drawn at random: {told} alarms in {total:,} posts "
        f"(none: with 95 % confidence under one in {total // 3:,})"
    )
    print(f"  {(time.process_time() - began) / total * 1e6:.2f} µs a post, drawing and averaging included")
    told = 0
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(len(news.rows))
        told += len(list(news.feed(DriftMonitor(news.labels, SETTINGS), order)))
    print(f"ag_news shuffled, 20 times: {told} alarms")


def delays(news: Posts) -> None:
    best = news.probabilities.argmax(axis=1)
    everything = np.arange(len(news.rows))
    sports = best == news.labels.index("sports")
    mixes = {
        "only sports": everything[sports],
        "no sports": everything[~sports],
        "sports three times as often": np.concatenate([everything, everything[sports], everything[sports]]),
        "sports half as often": np.concatenate([everything[~sports], everything]),
    }
    for name, pool in mixes.items():
        seen, before, examples = [], 0, ""
        for seed in range(20):
            random = np.random.default_rng(seed)
            order = np.concatenate([random.choice(everything, 5_000), random.choice(pool, 10_000)])
            found = list(news.feed(DriftMonitor(news.labels, SETTINGS), order))
            before += sum(at <= 5_000 for at, _ in found)
            after = [(at - 5_000, drift) for at, drift in found if at > 5_000]
            seen += [after[0][0] if after else float("inf")]
            examples = examples or (after[0][1].detail if after else "")
        missed = sum(one == float("inf") for one in seen)
        print(
            f"{name}: told of after {statistics.median(seen):.0f} posts, at most {max(seen):.0f}; "
            f"missed {missed} of 20, false {before}\n  {examples}"
        )


def real_event(crisis: Posts) -> None:
    starts: dict[str, int] = {}
    for at, row in enumerate(crisis.rows):
        starts.setdefault(row["event"], at)
    for block, reference in ((100, 2_500), (50, 1_000)):
        settings = SETTINGS.model_copy(
            update={"cooldown_s": 0.0, "block_posts": block, "reference_posts": reference}
        )
        monitor = DriftMonitor(crisis.labels, settings)
        found = list(crisis.feed(monitor, np.arange(len(crisis.rows))))
        changes = [start for start in starts.values() if start >= reference]
        delays = [next((at - start for at, _ in found if 0 < at - start <= 900), None) for start in changes]
        hit = [delay for delay in delays if delay is not None]
        print(
            f"crisis_events in order, blocks of {block}, reference {reference}: {len(found)} alarms; "
            f"{len(hit)} of {len(changes)} changes of event told of, after {statistics.median(hit):.0f} posts"
        )
        for at, drift in found[:4]:
            print(f"  at {at:,} ({crisis.rows[at - 1]['event']}): {drift.detail}")


def bursts(posts: Posts, name: str, show: int) -> None:
    firsts: dict[int, str] = {}
    seen = []
    for at, row in enumerate(posts.rows):
        first = firsts.setdefault(fingerprint(row["text"]), row["id"])
        seen.append(
            Seen(row["id"], row["text"], float(at), row.get("label"), first if first != row["id"] else None)
        )
    for batch in (50, 500):
        best = float("inf")
        for _ in range(3):
            finder, found = BurstFinder(BurstSettings()), []
            began = time.process_time()
            for start in range(0, len(seen), batch):
                found += finder.observe(seen[start : start + batch])
            best = min(best, time.process_time() - began)
        print(
            f"{name}, a post a second, {batch} at a time: {len(found)} lines, "
            f"{best / len(seen) * 1e6:.1f} µs a post"
        )
    for burst in found[:show]:
        print(f"  {burst.detail}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--posts", type=int, default=1_000_000)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    news = Posts(options.data, "ag_news", "news_topics.yaml", options.cache)
    crisis = Posts(options.data, "crisis_events", "crisis_kinds.yaml", options.cache)
    false_alarms(news, options.posts)
    delays(news)
    real_event(crisis)
    bursts(crisis, "crisis_events", 6)
    bursts(news, "ag_news", 0)


if __name__ == "__main__":
    main()
