"""Models with no stream around them, each in a process of its own: `python -m stream.bench.models JSON`.

The object names the `kind` (`text`, `image`), the `model` (a lane's, or a plain peer's), the inputs, and
for how long to run. Printed: units a second, CPU µs for each, the share of true labels found, memory.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import psutil

from config import ImageSettings, TextSettings
from schemas import ImageMessage, Post, Reference
from stream.bench.pictures import pictures, references
from stream.bench.posts import posts
from workers.text.label_set import load_label_set
from workers.text.worker import TextWorker

BATCH: Final = 256
"""Posts handed over at a time, so that the clock can be read between."""

Work = Callable[[Sequence[Any]], Sequence[str | None]]
"""From a batch of inputs to their labels or verdicts."""


def text_work(model: str, labels: Path, threads: int) -> Work:
    """A lane, or sentence-transformers: `plain-each` a text at a time, `plain-batches` many."""
    label_set = load_label_set(labels)
    if model.startswith("plain"):
        from workers.text.models.plain import PlainLabeller

        plain = PlainLabeller(label_set)
        plain.load()
        if model == "plain-each":
            return lambda batch: [plain.label_one(post.text)[0] for post in batch]
        return lambda batch: [label for label, _ in plain.label([post.text for post in batch])]
    worker = TextWorker(TextSettings(model=model, threads=threads), label_set)
    worker.load()
    return _labels_of(worker)


def _labels_of(worker: TextWorker) -> Work:
    def work(batch: Sequence[Post]) -> Sequence[str | None]:
        return [getattr(found, "label", None) for found in worker.run(worker.prepare(batch))]

    return work


def image_work(model: str, threads: int) -> Work:
    """The image lane, or torch as it comes: `eager-each` an image at a time, `eager-batches` in batches."""
    if model.startswith("eager"):
        from workers.image.models.eager import EagerMatcher

        eager = EagerMatcher([reference.content or b"" for reference in references()])
        if model == "eager-each":
            return lambda batch: [eager.match([image.content])[0] for image in batch]
        return lambda batch: eager.match([image.content for image in batch])
    from workers.image.worker import create_image_worker

    worker = create_image_worker(ImageSettings(threads=threads))
    worker.load()
    enrolled: list[Reference] = references()
    worker.apply(enrolled)
    return lambda batch: [getattr(found, "verdict", None) for found in worker.run(worker.prepare(batch))]


def measure(
    work: Work, batches: Iterator[Sequence[Any]], *, warmup_s: float, seconds: float
) -> dict[str, float]:
    """Run for the time given, after a warm-up; figures a second and CPU µs a unit."""
    end_of_warmup = time.monotonic() + warmup_s
    while time.monotonic() < end_of_warmup:
        work(next(batches))
    began, cpu, count, right, known = time.monotonic(), time.process_time(), 0, 0, 0
    while (now := time.monotonic()) - began < seconds:
        batch = next(batches)
        found = work(batch)
        count += len(batch)
        truth = [getattr(one, "label", None) for one in batch]
        known += sum(label is not None for label in truth)
        right += sum(
            label is not None and label == answer for label, answer in zip(truth, found, strict=True)
        )
    figures = {
        "per_s": count / (now - began),
        "cpu_us": (time.process_time() - cpu) / count * 1e6,
        "resident_mb": psutil.Process().memory_info().rss / 1e6,
    }
    return {**figures, "accuracy": right / known} if known else figures


def _post_batches(path: Path | None, size: int) -> Iterator[list[Post]]:
    batch: list[Post] = []
    for sent in posts(10**9, path):
        found = json.loads(sent.value)
        batch.append(Post(id=found["id"], text=found["text"], label=sent.label))
        if len(batch) == size:
            yield batch
            batch = []


def _image_batches(folder: Path | None, size: int) -> Iterator[list[ImageMessage]]:
    held = pictures(128, folder)
    number = 0
    while True:
        yield [
            ImageMessage(id=str(n), content=held[n % len(held)], size=len(held[n % len(held)]))
            for n in range(number, number + size)
        ]
        number += size


def main(asked: dict[str, Any]) -> None:
    """Measure what is asked for and print the figures as JSON."""
    inputs = Path(asked["inputs"]) if asked["inputs"] else None
    one_by_one = asked["model"].endswith("-each")
    if asked["kind"] == "text":
        work = text_work(asked["model"], Path(asked["labels"]), asked["threads"])
        batches: Iterator[Sequence[Any]] = _post_batches(inputs, 8 if one_by_one else BATCH)
    else:
        work = image_work(asked["model"], asked["threads"])
        batches = _image_batches(inputs, 1 if one_by_one else 32)
    sys.stdout.write(json.dumps(measure(work, batches, warmup_s=asked["warmup_s"], seconds=asked["seconds"])))
    sys.stdout.write("\n")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
