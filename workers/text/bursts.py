"""Bursts: one story told many times, within minutes, in the same words or nearly.

Posts that say the same are known by the labelling already; others are compared by signatures of their word
pairs. A story is said to burst when it has many posts in the window, holds its share of the stream, and grew
beyond what it had before; then again each time that it doubled.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final, cast

import numpy as np

from config import BurstSettings
from workers.text.bursts_index import StoryIndex
from workers.text.bursts_signature import sign
from workers.text.bursts_story import Burst, Seen
from workers.text.duplicates import fingerprint

BINS: Final = 20
"""Parts of a window: old posts leave it in steps of a twentieth."""

MAX_STORIES: Final = 10_000
"""Stories of two posts or more that are followed; beyond, those heard of longest ago are dropped."""

MAX_TEXT_CHARS: Final = 280
"""Of the representative post, in characters."""

MAX_WORDINGS: Final = 100
"""Wordings of one story whose copies are known at sight."""

MAX_COPIES: Final = 20_000
"""Wordings of all stories together, some 15 MB; copies of others are compared like new posts."""

CHUNK: Final = 512
"""Posts compared at once: what is made of their letters stays in the processor's cache."""


@dataclass(slots=True)
class _Story:
    """A story of two posts or more.

    Attributes:
        number: in the index.
        first: its first that was compared.
        first_seen: seconds since the epoch.
        last_seen: seconds since the epoch.
        posts: told so far.
        told_at: posts when it was last told of; 0: never.
        labels: posts by label.
        bins: (part of time, posts), of this window and the one before.
        wordings: its first post in each wording, and how many have it; by the id of the first.
    """

    number: int
    first: Seen
    first_seen: float
    last_seen: float
    posts: int = 0
    told_at: int = 0
    labels: dict[str | None, int] = field(default_factory=dict)
    bins: deque[tuple[int, int]] = field(default_factory=deque)
    wordings: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def post(self) -> Seen:
        """The first in the wording that most of its posts have."""
        most = max(self.wordings.values(), key=itemgetter(1), default=(self.first, 1))
        return cast("Seen", most[0])


class BurstFinder:
    """Follows stories over a sliding window. Not thread-safe; it holds no clock: posts bring their times.

    Args:
        settings: sizes, and from when on a story is told of.
    """

    def __init__(self, settings: BurstSettings) -> None:
        self._settings = settings
        self._part_s = 60 * settings.window_min / BINS
        self._index = StoryIndex()
        self._stories: OrderedDict[int, _Story] = OrderedDict()
        """By number, those heard of longest ago first."""
        self._copies: dict[str, _Story] = {}
        """By the id of the first post that said something."""
        self._bins: deque[tuple[int, int]] = deque()
        self._now = 0

    def observe(self, posts: Sequence[Seen]) -> list[Burst]:
        """Take in posts, in about the order of their times; give the bursts found."""
        found: list[Burst] = []
        for start in range(0, len(posts), CHUNK):
            found += self._observe(posts[start : start + CHUNK])
        return found

    def _observe(self, posts: Sequence[Seen]) -> list[Burst]:
        self._now = max(self._now, int(max(post.at for post in posts) // self._part_s))
        _count(self._bins, self._now, len(posts))
        told: dict[int, list[Seen]] = {}
        others: list[Seen] = []
        for post in posts:
            story = self._copies.get(post.same_as) if post.same_as is not None else None
            if story is None:
                others.append(post)
            else:
                told.setdefault(story.number, []).append(post)
        newest = self._index.newest
        if others:
            self._compare(others, told)
        stories = [self._grow(number, own, alone=number <= newest) for number, own in told.items()]
        self._forget()
        return [burst for story in stories if (burst := self._judge(story)) is not None]

    def _compare(self, posts: Sequence[Seen], told: dict[int, list[Seen]]) -> None:
        """Add posts to the stories they tell, by number; what is told once is left out."""
        signatures, enough = sign([post.text for post in posts])
        rows = np.flatnonzero(enough).tolist()
        if not rows:
            return
        newest = self._index.newest
        at = np.fromiter((posts[row].at for row in rows), np.float64, len(rows))
        numbers = self._index.place(signatures[rows], at)
        _, inverse, counts = np.unique(numbers, return_inverse=True, return_counts=True)
        repeated = (counts[inverse] > 1) | (numbers <= newest)
        for place in np.flatnonzero(repeated).tolist():
            told.setdefault(int(numbers[place]), []).append(posts[rows[place]])

    def _grow(self, number: int, posts: Sequence[Seen], *, alone: bool) -> _Story:
        """Add posts to a story; `alone`: where it is new, one post has told it before."""
        story = self._stories.get(number)
        if story is None or self._old(story.bins[-1][0]):  # what was silent so long begins anew
            if story is not None:
                self._drop(story)
            first = posts[0]
            story = _Story(number, first, first.at, first.at)
            began = self._index.began(number)
            part = int(began // self._part_s)
            if alone and not self._old(part):
                story.posts, story.first_seen = 1, min(story.first_seen, began)
                story.bins.append((part, 1))
            self._stories[number] = story
        story.posts += len(posts)
        _count(story.bins, self._now, len(posts))
        wordings, labels = story.wordings, story.labels
        for post in posts:
            identity, _, at, label, same_as = post
            if at > story.last_seen:
                story.last_seen = at
            elif at < story.first_seen:
                story.first_seen = at
            labels[label] = labels.get(label, 0) + 1
            key = same_as or identity
            wording = wordings.get(key)
            if wording is not None:
                wording[1] += 1
            elif len(wordings) < MAX_WORDINGS and len(self._copies) < MAX_COPIES and key not in self._copies:
                self._copies[key] = story
                wordings[key] = [post, 1]
        renewed = self._index.renew(number)
        if renewed not in (0, number):
            del self._stories[number]
            story.number = renewed
            self._stories[renewed] = story
        self._stories.move_to_end(story.number)
        return story

    def _judge(self, story: _Story) -> Burst | None:
        """Tell of a story that is large enough, a part of the stream, and more than it was."""
        rules = self._settings
        if story.posts < max(rules.min_posts, 2 * story.told_at):
            return None
        lately, before = self._split(story.bins)
        all_lately, all_before = self._split(self._bins)
        share = lately / all_lately
        if lately < rules.min_posts or share < rules.min_share:
            return None
        if not story.told_at and all_before and share < rules.growth * before / all_before:
            return None
        again, story.told_at = story.told_at > 0, story.posts
        post = story.post
        return Burst(
            story=f"{fingerprint(post.text):016x}",
            posts=story.posts,
            lately=lately,
            share=share,
            first_seen=story.first_seen,
            last_seen=story.last_seen,
            post_id=post.same_as or post.id,
            text=post.text[:MAX_TEXT_CHARS],
            label=max(story.labels.items(), key=itemgetter(1))[0],
            again=again,
        )

    def _split(self, bins: deque[tuple[int, int]]) -> tuple[int, int]:
        """Posts in this window, and in the one before."""
        lately = sum(count for part, count in bins if part > self._now - BINS)
        return lately, sum(count for part, count in bins if self._now - BINS >= part > self._now - 2 * BINS)

    def _forget(self) -> None:
        """Drop stories that nobody tells any more, and the oldest of too many."""
        while self._stories:
            oldest = next(iter(self._stories.values()))
            if not self._old(oldest.bins[-1][0]) and len(self._stories) <= MAX_STORIES:
                return
            self._drop(oldest)

    def _old(self, part: int) -> bool:
        """Whether a part of time is neither of this window nor of the one before."""
        return self._now - part >= 2 * BINS

    def _drop(self, story: _Story) -> None:
        del self._stories[story.number]
        for key in story.wordings:
            del self._copies[key]


def _count(bins: deque[tuple[int, int]], part: int, posts: int) -> None:
    """Count posts in a part of time, and let go of what is older than two windows."""
    if bins and bins[-1][0] == part:
        bins[-1] = part, bins[-1][1] + posts
    else:
        bins.append((part, posts))
        while bins[0][0] <= part - 2 * BINS:
            bins.popleft()
