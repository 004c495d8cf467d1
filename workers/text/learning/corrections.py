"""From what people said to one correction a post: the last word of each, disputed posts set aside."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from workers.text.duplicates import fingerprint


@dataclass(frozen=True, slots=True)
class Said:
    """One person's word on one post.

    Attributes:
        post_id: the post's.
        text: the post's.
        label: what it is; None says that it is none of the labels.
        by: who says so; all who don't say who they are count as one person.
        given: the label that the post had been given, where it was asked about.
        random: whether the post was drawn by lot, so that it stands for the stream.
    """

    post_id: str
    text: str
    label: str | None
    by: str | None = None
    given: str | None = None
    random: bool = False


@dataclass(frozen=True, slots=True)
class Correction:
    """What a post is, by those who looked at it.

    Attributes:
        key: fingerprint of what the post says; posts that say the same are one correction.
        text: the post's.
        labels: what holds; empty says that it is none of the labels. At most one unless several may hold.
        given: as in Said, of the last who was asked.
        random: whether a post that says this was drawn by lot.
    """

    key: int
    text: str
    labels: tuple[str, ...]
    given: str | None = None
    random: bool = False


@dataclass(frozen=True, slots=True)
class Pool:
    """All corrections for a label set.

    Attributes:
        corrections: in the order of the last word on each, oldest first.
        disputed: fingerprints of posts on which people differ; they are no examples.
    """

    corrections: tuple[Correction, ...] = ()
    disputed: frozenset[int] = frozenset()

    @property
    def keys(self) -> frozenset[int]:
        """Fingerprints of all that was spoken of."""
        return self.disputed | {correction.key for correction in self.corrections}


def settle(words: Iterable[Said], *, several: bool = False) -> Pool:
    """Settle what each post is.

    The last word of each person on a post counts. Where people differ, more than half of them decide; where
    no answer has so many, the post is disputed. Posts that say the same are one post.

    Args:
        words: as they were said, oldest first.
        several: whether several labels may hold for a post: then a person's words on it add up, and null
            takes back what the person had said of it.
    """
    posts: dict[int, dict[str | None, tuple[str, ...]]] = {}
    last: dict[int, Said] = {}
    drawn: set[int] = set()
    asked: dict[int, str | None] = {}
    keys: dict[str, int] = {}
    for said in words:
        key = keys.setdefault(said.post_id, fingerprint(said.text))
        answers = posts.setdefault(key, {})
        answers[said.by] = _answer(said.label, answers.pop(said.by, ()), several=several)
        last.pop(key, None)  # to stand where the last word stands
        last[key] = said
        if said.random:
            drawn.add(key)
            asked.setdefault(key, said.given)
    settled: list[Correction] = []
    disputed: set[int] = set()
    for key, said in last.items():
        answer, count = Counter(posts[key].values()).most_common(1)[0]
        if 2 * count <= len(posts[key]):
            disputed.add(key)
            continue
        settled.append(Correction(key, said.text, answer, asked.get(key, said.given), key in drawn))
    return Pool(tuple(settled), frozenset(disputed))


def _answer(label: str | None, before: tuple[str, ...], *, several: bool) -> tuple[str, ...]:
    if label is None:
        return ()
    return tuple(sorted({*before, label})) if several else (label,)
