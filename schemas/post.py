"""A post: the text that is labelled, and the facts that feeds carry beside it."""

from typing import Annotated

from pydantic import AfterValidator, Field

from schemas.base import Json, Message

MAX_TEXT_CHARS = 200_000
"""The longest text taken, in characters: a long contract fits, a megabyte of noise does not."""


def _not_blank(text: str) -> str:
    if not text or text.isspace():
        raise ValueError("the text is empty")
    return text


class Post(Message):
    """One text to label.

    Only `text` reaches a model. `label` and the other optional facts are carried by feeds and by labelled
    collections, some as text and some as numbers; they are read by `feedsight eval` and by filters, never
    by a model that labels.
    """

    id: Annotated[str, Field(min_length=1, max_length=256)]
    text: Annotated[str, Field(max_length=MAX_TEXT_CHARS), AfterValidator(_not_blank)]
    created_at: Json = None
    lang: str | None = None
    source: str | None = None
    author: str | None = None
    url: str | None = None
    title: str | None = None
    subject: str | None = None
    event: Json = None
    keyword: Json = None
    group: Json = None
    category: Json = None
    relevance: Json = None
    score: Json = None
    label: Json = None
    labels: tuple[str, ...] | None = None
    metadata: dict[str, Json] | None = None
