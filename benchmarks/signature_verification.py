"""Signature mode: equal error rates on skilled and casual forgeries.

    python -m benchmarks.signature_verification [--specimens 5] [--draws 10] [--data ../shared/data]

Specimens are drawn at random from a subject's genuine signatures; its other genuine ones and all forgeries
are judged. `global` is the equal error rate with one threshold for all subjects, `per subject` the mean of
each subject's own. Nothing is learnt from any set. In signatures_crossmedia a subject is a name by a writer:
its specimens are that name on other media, its (casual) forgeries the same name by other writers.
"""

import argparse
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from workers.image.modes.signature import MANY, UNSURE
from workers.image.signature.clean import clean
from workers.image.signature.describe import describe
from workers.image.signature.verify import Subject, excess_at, score_of


@dataclass
class Hand:
    """Descriptions of a subject's genuine signatures and of forgeries of them."""

    genuine: list[np.ndarray] = field(default_factory=list)
    forged: list[np.ndarray] = field(default_factory=list)


def described(path: Path) -> np.ndarray:
    ink = clean(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    if ink is None:
        raise ValueError(f"{path} shows no ink")
    return describe(ink)


def hands(folder: Path) -> dict[str, Hand]:
    """Subjects of a set, skilled forgeries where there are any."""
    found: dict[str, Hand] = defaultdict(Hand)
    if folder.name == "signatures_crossmedia":
        names: dict[str, list[str]] = defaultdict(list)
        for path in sorted(folder.glob("*/*.png")):
            _, name = path.stem.rsplit("_n", 1)
            subject = f"{path.parent.name}/{name}"
            if subject not in found:
                names[name].append(subject)
            found[subject].genuine.append(described(path))
        for same in names.values():
            for index, subject in enumerate(same):
                others = [found[same[(index + step) % len(same)]].genuine[step % 4] for step in range(1, 6)]
                found[subject].forged = others
        return found
    for path in sorted(folder.glob("*/*/*.jpg")):
        hand = found[path.parent.parent.name]
        (hand.genuine if path.parent.name == "genuine" else hand.forged).append(described(path))
    return found


def equal_error(genuine: np.ndarray, forged: np.ndarray) -> float:
    """Where the share of genuine below a threshold meets the share of forged above it."""
    levels = np.unique(np.concatenate([genuine, forged]))
    rejected = np.searchsorted(np.sort(genuine), levels, "left") / len(genuine)
    accepted = 1 - np.searchsorted(np.sort(forged), levels, "left") / len(forged)
    gap = rejected - accepted
    after = int(np.argmax(gap >= 0))
    if after == 0 or gap[after] == gap[after - 1]:
        return float(rejected[after] + accepted[after]) / 2
    weight = -gap[after - 1] / (gap[after] - gap[after - 1])
    mean = (rejected + accepted) / 2
    return float((1 - weight) * mean[after - 1] + weight * mean[after])


def draw(
    found: dict[str, Hand], specimens: int, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Scores of genuine and forged for each subject that has forgeries."""
    order = {name: rng.permutation(len(hand.genuine)) for name, hand in found.items()}
    chosen = {name: [hand.genuine[i] for i in order[name][:specimens]] for name, hand in found.items()}
    results = []
    for name, hand in found.items():
        if not hand.forged:
            continue
        others = [one[0] for other, one in chosen.items() if other != name][:20]
        subject = Subject(chosen[name], others if specimens <= 3 else ())
        rest = [hand.genuine[i] for i in order[name][specimens:]]
        judged = [
            np.array([score_of(subject.compare(one).excess) for one in part]) for part in (rest, hand.forged)
        ]
        results.append((judged[0], judged[1]))
    return results


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument(
        "--sets", nargs="*", default=["signatures", "signatures_ssbi", "signatures_crossmedia"]
    )
    parser.add_argument("--specimens", type=int, nargs="*", default=[5])
    parser.add_argument("--false-accepts", type=float, default=0.01)
    parser.add_argument("--draws", type=int, default=10)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    for name in arguments.sets:
        found = hands(arguments.data / name)
        most = min(len(hand.genuine) for hand in found.values()) - 1
        for specimens in sorted({min(one, most) for one in arguments.specimens}):
            rng = np.random.default_rng(0)
            together, each, passed, refused, lost = [], [], [], [], []
            limit = score_of(excess_at(arguments.false_accepts, specimens))
            unsure = score_of(excess_at(arguments.false_accepts, MANY) + UNSURE)
            for _ in range(arguments.draws if name != "signatures_crossmedia" else 2):
                results = draw(found, specimens, rng)
                genuine = np.concatenate([one for one, _ in results])
                forged = np.concatenate([one for _, one in results])
                together.append(equal_error(genuine, forged))
                each.append(np.mean([equal_error(*one) for one in results]))
                passed.append(np.mean(forged >= limit))
                refused.append(np.mean(genuine < limit))
                lost.append(np.mean(genuine < unsure))
            print(
                f"{name:22} {specimens:2} specimens: "
                f"EER global {np.mean(together):.3f} ± {np.std(together):.3f}, "
                f"per subject {np.mean(each):.3f}; at false_accepts {arguments.false_accepts:g}: "
                f"{np.mean(passed):.3f} of forgeries pass, {np.mean(refused):.3f} of genuine don't, "
                f"{np.mean(lost):.3f} are called forged",
                flush=True,
            )


if __name__ == "__main__":
    main()
