"""The figures and the picture of docs/benchmarks/loop.md: events with the loop and without.

    python benchmarks/text_loop.py [--label-sets crisis_kinds] [--seeds 3] [--picture FILE.svg]

Posts of crisis_events come in the order they were written. The review picker asks about 2 % of them; a
simulated reviewer answers with the true label; corrections are learned as `feedsight worker learn` learns
them, at its default settings, by the posts' own time. Each post is judged by the labels in force at its time.
"""

import argparse
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from text_label_sets import BENCHMARKS, DATA
from text_loop_picture import draw

from config import LearnSettings
from schemas import Label, LabelSet, Review
from workers.text.heads.base import Embeddings, Examples
from workers.text.heads.metrics import accuracy, macro_f1
from workers.text.heads.registry import create_head
from workers.text.lane import Encode, label_space, read_knowledge
from workers.text.learning.corrections import Said, settle
from workers.text.learning.refit import refit
from workers.text.models import SentenceEncoder
from workers.text.review import ReviewPicker

BATCH = 20
ANSWERED = 0.02
"""Share of the posts so far that the reviewer answers at most."""

END = 1 / 3
"""Share of an event that is its end."""

WINDOW = 0.25
"""Share of an event that a point of the curve looks back on."""

POINTS = np.linspace(0.1, 1.0, 10)
ASKED = {
    "novel": Review(random=0.005, uncertain=0.0, novel=0.02),
    "uncertain": Review(random=0.005, uncertain=0.02, novel=0.0),
    "random": Review(random=0.025, uncertain=0.0, novel=0.0),
    "mixed": Review(random=0.005, uncertain=0.01, novel=0.01),
}
"""More than ANSWERED, so that the reviewer always finds something to answer."""


class Event(NamedTuple):
    """Posts of one event, in order."""

    name: str
    texts: list[str]
    seconds: NDArray[np.float64]
    rows: Embeddings
    truth: NDArray[np.int64]


class Run(NamedTuple):
    """Labels given, how many posts were answered, and how many versions were published."""

    found: NDArray[np.int64]
    answered: int
    versions: int


class InForce:
    """A label set, fitted."""

    def __init__(self, label_set: LabelSet, encode: Encode, head: str = "product") -> None:
        knowledge = read_knowledge(label_set, (), label_set.sample)
        space = label_space(knowledge, encode)
        examples = Examples(encode(knowledge.examples), np.array(knowledge.example_labels, np.int64))
        self.label_set = label_set
        self.head = create_head(head)
        self.head.fit(space, examples, encode(knowledge.unlabelled))
        self._known = np.concatenate([space.phrase_embeddings, examples.embeddings])

    def novelty(self, rows: Embeddings) -> NDArray[np.float32]:
        return np.asarray(1 - (rows @ self._known.T).max(axis=1), np.float32)


def read_events(benchmark: str, encode: Encode) -> list[Event]:
    """All events; posts without one of the labels are left out, as in text_heads.py."""
    names = list(BENCHMARKS[benchmark].labels)
    found: dict[str, list[dict[str, str]]] = {}
    for line in (DATA / BENCHMARKS[benchmark].file).open(encoding="utf-8"):
        row = json.loads(line)
        if row["label"] in names:
            found.setdefault(row["event"], []).append(row)
    return [
        Event(
            name,
            [row["text"] for row in rows],
            np.array([datetime.fromisoformat(row["created_at"]).timestamp() for row in rows]),
            encode([row["text"] for row in rows]),
            np.array([names.index(row["label"]) for row in rows]),
        )
        for name, rows in sorted(found.items())
    ]


def play(
    event: Event, labels: LabelSet, encode: Encode, review: Review, seed: int, delay_s: float, shuffle: bool
) -> Run:
    """Label an event with the loop running."""
    settings = LearnSettings()
    names = [label.name for label in labels.labels]
    truth = event.truth if not shuffle else np.random.default_rng(seed).permutation(event.truth)
    in_force, picker = InForce(labels, encode), ReviewPicker(review, seed)
    words: list[Said] = []
    asked: list[tuple[float, Said]] = []
    pending, since, versions = 0, 0.0, 0
    found = np.empty(len(event.truth), np.int64)
    for start in range(0, len(found), BATCH):
        part = slice(start, start + BATCH)
        now = event.seconds[part][0]
        while asked and asked[0][0] <= now:
            since = asked[0][0] if not pending else since
            words.append(asked.pop(0)[1])
            pending += 1
        if pending and (pending >= settings.every or now >= since + settings.interval_s):
            pending = 0
            pool = settle(words)
            outcome = refit(in_force.label_set, pool, encode, most=settings.max_examples)
            if outcome is not None and outcome.label_set is not None:
                in_force = InForce(outcome.label_set, encode)
                versions += 1
        probabilities = in_force.head.predict_proba(event.rows[part])
        found[part] = probabilities.argmax(axis=1)
        best = np.sort(probabilities, axis=1)
        picked = picker.pick(
            best[:, -1] - best[:, -2],
            in_force.novelty(event.rows[part]),
            [f"{event.name}-{start + place}" for place in range(len(probabilities))],
            event.rows[part],
        )
        for place, why in picked.items():
            at = start + place
            if len(words) + len(asked) + 1 > ANSWERED * (at + 1):
                continue
            label, given = names[truth[at]], names[found[at]]
            said = Said(str(at), event.texts[at], label, given=given, random="random" in why)
            asked.append((event.seconds[at] + delay_s, said))
    return Run(found, len(words), versions)


def at_the_end(found: NDArray[np.int64], truth: NDArray[np.int64], count: int) -> tuple[float, float]:
    """Macro F1 and accuracy over the event's end, in points."""
    end = slice(int(len(truth) * (1 - END)), None)
    return 100 * macro_f1(found[end], truth[end], count), 100 * accuracy(found[end], truth[end])


def curve(found: NDArray[np.int64], truth: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Macro F1 over what came last, in points, at each of POINTS."""
    ends = np.round(POINTS * len(truth)).astype(int)
    first = np.maximum(0, ends - int(WINDOW * len(truth)))
    pairs = zip(first, ends, strict=True)
    return np.array([100 * macro_f1(found[a:b], truth[a:b], count) for a, b in pairs])


def cached_encoder(cache: Path, texts: Sequence[str]) -> Encode:
    """The sentence model, with the posts embedded once and kept."""
    encoder = SentenceEncoder()
    encoder.load()
    kept = cache / "loop_crisis.npy"
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        np.save(kept, encoder.encode(texts))
    known: dict[str, NDArray[np.float32]] = dict(zip(texts, np.load(kept), strict=True))

    def encode(wanted: Sequence[str]) -> Embeddings:
        missing = [text for text in dict.fromkeys(wanted) if text not in known]
        if missing:
            known.update(zip(missing, encoder.encode(missing), strict=True))
        if not wanted:
            return np.zeros((0, encoder.dimensions), np.float32)
        return np.stack([known[text] for text in wanted])

    return encode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--label-sets", default="crisis_kinds,crisis_kinds_phrasings")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ask", choices=ASKED, default="novel")
    parser.add_argument("--delay-s", type=float, default=600.0, help="until the reviewer has answered")
    parser.add_argument("--shuffle", action="store_true", help="answers by chance: nothing is to be learned")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "feedsight" / "benchmarks")
    chosen = parser.parse_args()
    file = DATA / BENCHMARKS["crisis_kinds"].file
    encode = cached_encoder(chosen.cache, [json.loads(line)["text"] for line in file.open(encoding="utf-8")])
    curves: dict[str, dict[str, NDArray[np.float64]]] = {}
    for benchmark in chosen.label_sets.split(","):
        said = BENCHMARKS[benchmark].labels
        labels = LabelSet(
            name="kinds",
            version=1,
            labels=tuple(Label(name=name, phrasings=phrases) for name, phrases in said.items()),
        )
        count, ways = len(said), {head: InForce(labels, encode, head) for head in ("zero_shot", "product")}
        lines: dict[str, list[NDArray[np.float64]]] = {"plain": [], "without": [], "loop": []}
        total: list[list[float]] = []
        print(f"\n{benchmark}: macro F1 and accuracy over the last third; asked by {chosen.ask}")
        print(
            f"{'event':28}{'plain':>12}{'without loop':>14}{'with loop':>12}{'gain':>7}{'asked':>8}{'new':>5}"
        )
        for event in read_events(benchmark, encode):
            fixed = [way.head.predict_proba(event.rows).argmax(axis=1) for way in ways.values()]
            runs = [
                play(event, labels, encode, ASKED[chosen.ask], seed, chosen.delay_s, chosen.shuffle)
                for seed in range(chosen.seeds)
            ]
            plain, without = (at_the_end(one, event.truth, count) for one in fixed)
            loop = np.mean([at_the_end(run.found, event.truth, count) for run in runs], axis=0)
            share = float(np.mean([run.answered for run in runs])) / len(event.truth)
            versions = float(np.mean([run.versions for run in runs]))
            total.append([*plain, *without, *loop, loop[0] - plain[0], 100 * share, versions])
            print(table_line(event.name, total[-1]), flush=True)
            lines["plain"].append(curve(fixed[0], event.truth, count))
            lines["without"].append(curve(fixed[1], event.truth, count))
            lines["loop"].append(np.mean([curve(run.found, event.truth, count) for run in runs], axis=0))
        print(table_line("mean", list(np.mean(total, axis=0))))
        curves[benchmark] = {name: np.mean(values, axis=0) for name, values in lines.items()}
    if chosen.picture is not None:
        chosen.picture.write_text(draw(100 * POINTS, curves), encoding="utf-8")


def table_line(name: str, v: Sequence[float]) -> str:
    pairs = f"{v[0]:6.1f}{v[1]:6.1f}{v[2]:8.1f}{v[3]:6.1f}{v[4]:6.1f}{v[5]:6.1f}"
    return f"{name:28}{pairs}{v[6]:+7.1f}{v[7]:7.2f}%{v[8]:5.1f}"


if __name__ == "__main__":
    main()
