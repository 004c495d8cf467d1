"""What benchmarks send: posts of a file, or drawn ones, no two of which say the same."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from workers.errors import MessageError
from workers.text.parse import parse_post

SUBJECTS: Final[dict[str, tuple[str, ...]]] = {
    "sports": (
        "the home side", "a substitute keeper", "the league leaders", "their young striker",
        "the visiting coach",
        "a veteran sprinter", "the relay team", "the defending champion", "a second-round pick",
        "the captain",
    ),
    "world": (
        "the foreign minister", "a coalition of parties", "the border guard", "opposition deputies",
        "the envoy",
        "a regional court", "election officials", "the peace mission", "the provincial governor",
        "aid workers",
    ),
    "business": (
        "the central bank", "a regional lender", "the carmaker", "oil traders", "the airline's owner",
        "a pension fund", "the retailer", "shareholders", "the chip supplier", "the competition regulator",
    ),
    "sci_tech": (
        "a research vessel", "the space telescope", "the browser maker", "a team of chemists", "the probe",
        "engineers of the rover", "a security researcher", "the search engine", "a new battery",
        "the laboratory",
    ),
}  # fmt: skip
VERBS: Final[dict[str, tuple[str, ...]]] = {
    "sports": (
        "beat",
        "drew with",
        "held off",
        "overtook",
        "lost to",
        "signed a player from",
        "was cheered by",
    ),
    "world": ("met", "accused", "reached a deal with", "sent a protest to", "voted against", "withdrew from"),
    "business": (
        "raised its offer for",
        "cut its forecast for",
        "sued",
        "bought a stake in",
        "lent to",
        "warned",
    ),
    "sci_tech": (
        "measured",
        "photographed",
        "patched a flaw in",
        "released data on",
        "tested",
        "published on",
    ),
}
OBJECTS: Final[dict[str, tuple[str, ...]]] = {
    "sports": (
        "the second seed",
        "last year's finalist",
        "a ten-man team",
        "the favourite",
        "a club of the south",
    ),
    "world": (
        "the transitional government",
        "its neighbour",
        "the ceasefire monitors",
        "the upper house",
        "exiles",
    ),
    "business": (
        "a rival",
        "the loss-making unit",
        "the copper mine",
        "its largest customer",
        "the bond market",
    ),
    "sci_tech": (
        "a distant comet",
        "the operating system",
        "a protein",
        "the dwarf planet",
        "an open standard",
    ),
}
PLACES: Final = (
    "in the rain", "after midnight", "before a full house", "at the harbour", "on the last day",
    "in the capital",
    "near the river", "for the third time", "without a word", "to everyone's surprise", "two weeks early",
)  # fmt: skip
MIDDLES: Final = (
    "Observers had expected little else, though few said so aloud",
    "Nobody was hurt and the roads were open again by the evening",
    "The figures were checked twice and did not change",
    "A spokesman declined to say more until the papers are signed",
    "It was the closest anyone has come since the rules were changed",
    "Critics called it late, supporters called it brave",
    "The crowd stayed long after the lights went out",
    "Details will follow once the committee has met",
)
MEAN_SENTENCES: Final = 3


class Sent(NamedTuple):
    """A post as it is sent.

    Attributes:
        key: decimal number, the post's place.
        value: the post as JSON.
        label: its true label, where it is known.
    """

    key: bytes
    value: bytes
    label: str | None


def drawn(seed: int = 0) -> Iterator[tuple[str, str]]:
    """Draw (text, label) without end: one to six sentences, 10 to 80 words; a number sets each apart."""
    random_ = random.Random(seed)  # noqa: S311 - no secret
    labels = tuple(SUBJECTS)
    number = 0
    while True:
        label = labels[number % len(labels)]
        choose = random_.choice
        first = f"{choose(SUBJECTS[label])} {choose(VERBS[label])} {choose(OBJECTS[label])} {choose(PLACES)}"
        more = min(5, int(random_.expovariate(1 / (MEAN_SENTENCES - 1))))
        sentences = [first[:1].upper() + first[1:], *(choose(MIDDLES) for _ in range(more))]
        yield f"{'. '.join(sentences)}. Report {number} of the day", label
        number += 1


def posts(count: int, path: Path | None = None) -> Iterator[Sent]:
    """Give posts, the place of each as key and id.

    A file with fewer posts is gone through again, with a number after each text, so that none is a copy whose
    answer would be remembered.

    Args:
        count: how many.
        path: posts as JSON Lines; drawn ones where it is left out.

    Raises:
        ValueError: the file holds no post.
    """
    if path is None:
        for number, (made, subject) in zip(range(count), drawn(), strict=False):
            yield _sent(number, made, subject)
        return
    held = _read(path)
    if not held:
        raise ValueError(f"{path} holds no post")
    for number in range(count):
        text, label = held[number % len(held)]
        turn = number // len(held)
        yield _sent(number, f"{text} {turn}" if turn else text, label)


def _sent(number: int, text: str, label: str | None) -> Sent:
    identity = str(number)
    return Sent(identity.encode(), orjson.dumps({"id": identity, "text": text}), label)


def _read(path: Path) -> list[tuple[str, str | None]]:
    found = []
    with path.open("rb") as lines:
        for line in lines:
            try:
                post = parse_post(line, unknown_fields="ignore")
            except MessageError:
                continue
            found.append((post.text, post.label if isinstance(post.label, str) else None))
    return found
