"""What is played: the example posts and images in order, with broken messages strewn in."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from schemas import ImageMessage, Label, LabelSet
from stream.records import Headers
from workers.errors import FatalError
from workers.text.label_set import load_label_set

LaneName = Literal["text", "image"]

BURST: Final = "burst-"
"""Ids of the posts that are sent all at once at the end."""

BROKEN_EVERY: Final = 24
"""A broken post after so many good ones; the first comes early, so that it is seen."""

BROKEN_FIRST: Final = 10


@dataclass(frozen=True)
class Item:
    """One input.

    Attributes:
        lane: which worker it is for.
        key: the record's key, and the id by which it is known on the screen.
        value: the record's value; None is a null value.
        headers: the record's headers.
        about: what a person sees of it.
        label: what it should be found to be, where that is known.
    """

    lane: LaneName
    key: str
    value: bytes | None
    headers: Headers
    about: str
    label: str | None = None


@dataclass(frozen=True)
class Story:
    """All that is played.

    Attributes:
        title: one line.
        labels: the label-set file.
        turn: a file with the labels that are added while the story is played.
        references: the folder of references.
        parts: the folder that claim checks point into.
        posts: in order.
        broken_posts: each becomes a dead letter.
        images: in order.
        broken_images: each becomes a dead letter.
    """

    title: str
    labels: Path
    turn: Path
    references: Path
    parts: Path
    posts: tuple[Item, ...]
    broken_posts: tuple[Item, ...]
    images: tuple[Item, ...]
    broken_images: tuple[Item, ...]

    def label_names(self) -> tuple[str, ...]:
        """Give the labels of the set, in its order, and those that are added later."""
        return tuple(label["name"] for path in (self.labels, self.turn) for label in _labels(path))

    def turned(self) -> LabelSet:
        """Give the label set with the labels that are added, as the next version."""
        label_set = load_label_set(self.labels)
        added = tuple(Label.model_validate(label) for label in _labels(self.turn))
        update = {"labels": (*label_set.labels, *added), "version": int(label_set.version or 1) + 1}
        return label_set.model_copy(update=update)

    @property
    def text_feed_items(self) -> int:
        """How many items of `text_feed` play all posts once."""
        broken = (len(self.posts) - BROKEN_FIRST) // BROKEN_EVERY + 1
        return len(self.posts) + broken

    def text_feed(self) -> Iterator[Item]:
        """Play the posts over and over, broken ones strewn in."""
        broken = itertools.cycle(self.broken_posts)
        count = 0
        for round_number in itertools.count():
            for post in self.posts:
                yield post if round_number == 0 else _again(post, f"{post.key}-{round_number + 1}")
                count += 1
                if count % BROKEN_EVERY == BROKEN_FIRST:
                    yield _again(next(broken), f"broken-post-{count}")

    def image_feed(self) -> Iterator[Item]:
        """Play the images over and over, a broken one after every third."""
        broken = itertools.cycle(self.broken_images)
        count = 0
        for round_number in itertools.count():
            for image in self.images:
                yield image if round_number == 0 else _again(image, f"{image.key}-{round_number + 1}")
                count += 1
                if count % 3 == 0:
                    yield _again(next(broken), f"broken-image-{count}")

    def burst(self, count: int) -> list[Item]:
        """Give posts to be sent all at once, no two texts alike: a worker that knows a text again is quick.

        Each has the beginning of one post and the end of another.
        """
        texts = [post.about.split() for post in self.posts]
        items = []
        for number in range(count):
            lap, place = divmod(number, len(texts))
            head, tail = texts[place], texts[(place + lap + 1) % len(texts)]
            words = head[: len(head) // 2 + 1] + tail[len(tail) // 2 :]
            about = f"{' '.join(words)} #{number}"
            value = json.dumps({"id": f"{BURST}{number}", "text": about}, ensure_ascii=False).encode()
            items.append(Item("text", f"{BURST}{number}", value, (), about))
        return items


def _labels(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text("utf-8"))["labels"]
    return found


def load_story(folder: Path) -> Story:
    """Read the examples.

    Raises:
        FatalError: they are not there or not whole.
    """
    storm, boards = folder / "storm", folder / "boards"
    try:
        posts = tuple(_post(json.loads(line)) for line in _lines(storm / "posts.jsonl"))
        images = tuple(_image(json.loads(line), boards) for line in _lines(boards / "parts.jsonl"))
    except (OSError, ValueError, KeyError) as error:
        raise FatalError(f"the examples in {folder} can't be read: {error}") from error
    return Story(
        title="a storm hits Kestrel Bay during the cup tie",
        labels=storm / "labels.yaml",
        turn=storm / "turn.yaml",
        references=boards / "references",
        parts=boards / "parts",
        posts=posts,
        broken_posts=_broken_posts(),
        images=images,
        broken_images=_broken_images(images, boards / "parts"),
    )


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _post(facts: dict[str, Any]) -> Item:
    value = json.dumps(facts, ensure_ascii=False).encode()
    return Item("text", facts["id"], value, (), facts["text"], facts.get("label"))


def _image(facts: dict[str, Any], base: Path) -> Item:
    path = (base / facts["path"]).resolve()
    message = ImageMessage(
        id=facts["id"],
        dataref=str(path),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        size=path.stat().st_size,
        content_type="image/jpeg",
        reference=facts["reference"],
        label=facts.get("label"),
    )
    return Item(
        "image", facts["id"], message.to_json(), _JSON, f"against {facts['reference']}", message.label
    )


_JSON: Final[Headers] = (("content-type", b"application/json"),)
_JPEG: Final[Headers] = (("content-type", b"image/jpeg"),)


def _again(item: Item, key: str) -> Item:
    """Give an input under another id, inside and out; what is broken stays as it is."""
    value = item.value
    if value is not None and not item.key.startswith("broken"):
        value = json.dumps({**json.loads(value), "id": key}, ensure_ascii=False).encode()
    return Item(item.lane, key, value, item.headers, item.about, item.label)


def _broken_posts() -> tuple[Item, ...]:
    cases: Sequence[tuple[bytes | None, str]] = (
        (b"Water is coming in, please hurry", "plain text where JSON was agreed"),
        (b'{"id": "x1", "text": ["not", "text"]}', "a list in place of the text"),
        (b'{"id": "x2", "txt": "the pier is gone"}', "a misspelt field"),
        (None, "a null value"),
        (b'{"id": "x3", "text": "   "}', "nothing but blanks"),
        (b'{"id": "x4", "text": "caf\xe9 flooded"}', "Latin-1 where UTF-8 was agreed"),
        (b'{"id": "x5", "text": "cut off in the mid', "JSON cut off"),
        (b'{"id": "x6", "text": "' + b"storm " * 40_000 + b'"}', "240,000 characters"),
    )
    return tuple(Item("text", f"broken-{n}", value, (), about) for n, (value, about) in enumerate(cases))


def _broken_images(images: Sequence[Item], parts: Path) -> tuple[Item, ...]:
    whole = next(iter(sorted(parts.iterdir()))).read_bytes()
    swapped = {**json.loads(images[0].value or b"{}"), "sha256": "0" * 64}
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    outside = {"id": "outside", "dataref": "/etc/passwd", "reference": "board-1"}
    cases: Sequence[tuple[bytes, Headers, str]] = (
        (whole[: len(whole) // 3], _JPEG, "a JPEG cut off"),
        (svg, _JPEG, "an SVG with a script, named .jpg"),
        (json.dumps(outside).encode(), _JSON, "a claim check to /etc/passwd"),
        (json.dumps(swapped).encode(), _JSON, "a claim check with another sha256"),
    )
    return tuple(
        Item("image", f"broken-{n}", value, headers, about) for n, (value, headers, about) in enumerate(cases)
    )
