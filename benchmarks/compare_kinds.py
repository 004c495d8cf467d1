"""Kinds of defects on DeepPCB from a few labelled boxes a kind.

    python -m benchmarks.compare_kinds [--data ../shared/data/deeppcb] [--shots 10] [--draws 20]

Labelled boxes are drawn at random, from all boards or from one group; the accuracy is over the other defects,
in the second case over those of the other groups, each cut out by its true box.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from benchmarks.compare_deeppcb import DATA, KINDS, decode, pairs
from workers.image.compare.align import Aligner
from workers.image.compare.kinds import Example, KindClassifier
from workers.image.modes.compare import aligned_to, crop_pair


def crops(data: Path) -> tuple[list[Example], list[str]]:
    """A crop for each labelled box, and its group."""
    found, groups = [], []
    for pair in pairs(data):
        reference = cv2.cvtColor(decode(pair.reference).pixels, cv2.COLOR_RGB2GRAY)
        test = cv2.cvtColor(decode(pair.test).pixels, cv2.COLOR_RGB2GRAY)
        matrix = Aligner(reference).align(test).matrix
        lit = aligned_to(reference, test, matrix)
        for box, kind in zip(pair.boxes, pair.kinds, strict=True):
            found.append((*crop_pair(reference, lit, matrix, box), kind))
            groups.append(pair.group)
    return found, groups


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--shots", type=int, default=10)
    parser.add_argument("--draws", type=int, default=20)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    examples, groups = crops(arguments.data)
    kinds = np.array([kind for _, _, kind in examples])
    everywhere = np.array(groups)
    for source in ("any", *sorted(set(groups))):
        usable = np.ones(len(kinds), bool) if source == "any" else everywhere == source
        if min(np.sum(usable & (kinds == kind)) for kind in KINDS.values()) < arguments.shots:
            continue
        accuracies, confusion = [], np.zeros((6, 6), int)
        names = sorted(KINDS.values())
        for seed in range(arguments.draws):
            rng = np.random.default_rng(seed)
            pools = [rng.permutation(np.flatnonzero(usable & (kinds == kind))) for kind in names]
            chosen = np.concatenate([pool[: arguments.shots] for pool in pools])
            classifier = KindClassifier()
            classifier.fit([examples[index] for index in chosen])
            rest = np.setdiff1d(np.arange(len(kinds)), chosen)
            if source != "any":
                rest = rest[~usable[rest]]
            rest = rng.permutation(rest)[:400]
            given = [classifier.predict(*examples[index][:2]) for index in rest]
            named = np.array([kind.name if kind else "" for kind in given])
            right = named == kinds[rest]
            for kind, index in zip(given, rest, strict=True):
                confusion[names.index(kinds[index]), names.index(kind.name if kind else names[0])] += 1
            accuracies.append(np.mean(right))
        accuracy = f"{np.mean(accuracies):.3f} ± {np.std(accuracies):.3f}"
        print(f"{arguments.shots} boxes a kind from {source}: accuracy {accuracy}")
        if source == "any":
            for name, row in zip(names, confusion, strict=True):
                print(f"  {name:10}", " ".join(f"{value:5d}" for value in row))


if __name__ == "__main__":
    main()
