"""The loop: what people are asked, what they answer, and what a change of labels would change."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Message, Origin
from schemas.post import MAX_TEXT_CHARS

LaneName = Literal["text", "image"]
Why = Literal["random", "uncertain", "novel"]


class ReviewItem(Message):
    """A post or an image that a person should look at, with what the worker said of it.

    Attributes:
        why: why it was chosen, all that apply; `random` items are a fair sample of the stream.
        name: the label set or gallery.
        label: the label or verdict given; null where the worker abstained.
        probability: of the best candidate.
        text: the post's, so that nobody needs to look it up.
    """

    id: str
    lane: LaneName = "text"
    why: tuple[Why, ...]
    name: str
    version: str
    label: str | None
    probability: float
    margin: float | None = None
    text: str | None = None
    result_id: str | None = None
    source: Origin | None = None


class Feedback(Message):
    """A person's word on a post or image.

    Attributes:
        id: of the post or image.
        label: what it is; null says that it is none of the labels. For an image: `good`, or its class.
        name: the label set or gallery meant; may be left out where there is one only.
        text: the post's; looked up by `source`, or among the items under review, where it is left out.
        source: where the post or image was read, as its result says.
        by: who says so.
        at: when, RFC 3339.
    """

    id: Annotated[str, Field(min_length=1, max_length=256)]
    lane: LaneName = "text"
    label: Annotated[str, Field(min_length=1, max_length=128)] | None
    name: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS)] | None = None
    source: Origin | None = None
    by: Annotated[str, Field(max_length=256)] | None = None
    at: str | None = None


class LabelDiff(Message):
    """A post that another version of a label set labels otherwise."""

    id: str
    name: str
    old: str | None
    new: str | None
    old_version: str
    new_version: str
    old_probability: float | None = None
    new_probability: float | None = None
    text: str | None = None
    source: Origin | None = None
