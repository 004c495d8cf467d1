"""What another version of a label set would change, counted."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from schemas import LabelDiff

EXAMPLES: Final = 3
"""Posts shown for each change of label."""

Change = tuple[str | None, str | None]


@dataclass
class Summary:
    """Counts of a replay.

    Attributes:
        name: the label set.
        new_version: the candidate's.
        read: posts read.
        failed: of these, no posts, or the model failed on them.
        not_for_it: of these, the candidate's filters leave them out.
        without_old: labelled again, and without a former result of this label set.
        compared: labelled again, and with a former result.
        changed: of these, the label is another.
        old_versions: former results by version.
        pairs: compared posts by former and new label; None is abstained.
        confidence: sums of the best probability, former and new, over the posts compared.
        known: how many former probabilities were known.
        examples: some posts of each change.
    """

    name: str
    new_version: str
    read: int = 0
    failed: int = 0
    not_for_it: int = 0
    without_old: int = 0
    compared: int = 0
    changed: int = 0
    old_versions: Counter[str] = field(default_factory=Counter)
    pairs: Counter[Change] = field(default_factory=Counter)
    confidence: tuple[float, float] = (0.0, 0.0)
    known: int = 0
    examples: dict[Change, list[LabelDiff]] = field(default_factory=dict)

    def count(self, old: str | None, new: str | None, old_version: str) -> None:
        """Count a post that has both labels."""
        self.compared += 1
        self.changed += old != new
        self.old_versions[old_version] += 1
        self.pairs[old, new] += 1

    def weigh(self, old: float | None, new: float) -> None:
        """Count how sure both were."""
        if old is not None:
            self.known += 1
            self.confidence = self.confidence[0] + old, self.confidence[1] + new

    def show(self, diff: LabelDiff) -> None:
        """Keep a post as an example of its change, the first few of each."""
        kept = self.examples.setdefault((diff.old, diff.new), [])
        if len(kept) < EXAMPLES:
            kept.append(diff)

    @property
    def share_changed(self) -> float | None:
        """Of the posts compared; None where there are none."""
        return self.changed / self.compared if self.compared else None

    def changes(self) -> list[tuple[Change, int]]:
        """Changes of label and how many posts, most first."""
        return [(pair, count) for pair, count in self.pairs.most_common() if pair[0] != pair[1]]

    def by_label(self) -> dict[str | None, tuple[int, int]]:
        """Posts with each label, formerly and now; those with the most first."""
        old: Counter[str | None] = Counter()
        new: Counter[str | None] = Counter()
        for (before, after), count in self.pairs.items():
            old[before] += count
            new[after] += count
        names = sorted(old | new, key=lambda name: -(old[name] + new[name]))
        return {name: (old[name], new[name]) for name in names}

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        share = self.share_changed
        old, new = self.confidence
        return {
            "name": self.name,
            "old_versions": dict(self.old_versions),
            "new_version": self.new_version,
            "read": self.read,
            "compared": self.compared,
            "changed": self.changed,
            "share_changed": None if share is None else round(share, 6),
            "agreement": None if share is None else round(1 - share, 6),
            "without_old": self.without_old,
            "not_for_it": self.not_for_it,
            "failed": self.failed,
            "confidence": {
                "old": round(old / self.known, 4) if self.known else None,
                "new": round(new / self.known, 4) if self.known else None,
            },
            "labels": [
                {"label": label, "old": before, "new": after}
                for label, (before, after) in self.by_label().items()
            ],
            "changes": [
                {
                    "from": before,
                    "to": after,
                    "posts": count,
                    "examples": [
                        diff.model_dump(exclude_none=True) for diff in self.examples.get((before, after), [])
                    ],
                }
                for (before, after), count in self.changes()
            ],
        }
