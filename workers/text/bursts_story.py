"""What is known of a burst, and how it is said to people."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from schemas.base import Json


class Seen(NamedTuple):
    """A post, as far as bursts are concerned.

    Attributes:
        id: the post's.
        text: the post's.
        at: when it was written or recorded, in seconds since the epoch.
        label: what it was labelled, or None.
        same_as: the id of the first post that said the same, where it is known.
    """

    id: str
    text: str
    at: float
    label: str | None = None
    same_as: str | None = None


@dataclass(frozen=True)
class Burst:
    """One story, told many times.

    Attributes:
        story: the same for the same first words, in whatever worker.
        posts: told so far.
        lately: of these, within the window.
        share: of all posts within the window.
        first_seen: seconds since the epoch.
        last_seen: seconds since the epoch.
        post_id: of a representative post.
        text: its text, cut.
        label: the label that most of its posts got; None where most got none.
        again: whether the story was told of before, and doubled since.
    """

    story: str
    posts: int
    lately: int
    share: float
    first_seen: float
    last_seen: float
    post_id: str
    text: str
    label: str | None
    again: bool

    @property
    def detail(self) -> str:
        """One line for a person."""
        span = _span(self.last_seen - self.first_seen)
        how = (
            f"one post in {round(1 / self.share):,}"
            if self.share <= 0.5
            else f"{self.share:.0%} of all posts"
        )
        label = f", {self.label}" if self.label else ""
        head = "the same story grows: " if self.again else "one story: "
        since = (
            f"since {datetime.fromtimestamp(self.first_seen, UTC):%H:%M} UTC" if self.again else f"in {span}"
        )
        return f"{head}{self.posts:,} posts {since}, {how} now{label}: “{' '.join(self.text.split())}”"

    @property
    def facts(self) -> dict[str, Json]:
        """Numbers and words for programs."""
        return {
            "story": self.story,
            "posts": self.posts,
            "lately": self.lately,
            "share": round(self.share, 4),
            "first_seen": _time(self.first_seen),
            "last_seen": _time(self.last_seen),
            "post": self.post_id,
            "text": self.text,
            "label": self.label,
            "again": self.again,
        }


def _span(seconds: float) -> str:
    """A span of time in words: `40 s`, `4 min`, `3 h`."""
    for least, unit in ((2 * 86_400, 86_400), (2 * 3_600, 3_600), (90, 60)):
        if seconds >= least:
            return f"{seconds / unit:.0f} {'min' if unit == 60 else 'h' if unit == 3_600 else 'days'}"
    return f"{seconds:.0f} s"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
