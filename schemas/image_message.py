"""An image to match: its bytes, or a claim check that says where they lie."""

from typing import Annotated

from pydantic import Field

from schemas.base import Json, Message

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ImageMessage(Message):
    """One image. Exactly one of `content` and `dataref` is set.

    On a topic an image is either the bytes themselves, with these facts in headers, or this message as JSON
    with a claim check (CloudEvents extension `dataref`); `content` never travels as JSON.
    """

    id: Annotated[str, Field(min_length=1, max_length=256)]
    content: bytes | None = Field(default=None, exclude=True, repr=False)
    dataref: str | None = None
    sha256: Sha256 | None = None
    size: Annotated[int, Field(ge=0)] | None = None
    content_type: str | None = None
    subject: str | None = None
    """Signature mode: whose signature it claims to be."""
    reference: str | None = None
    """Compare mode: the id of the reference it is compared with."""
    gallery: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """Which references it is judged against; the worker's own, or its only ones, where it is left out."""
    label: str | None = None
    """The true class, where known; read by `feedsight eval`, never by a model."""
    created_at: str | None = None
    metadata: dict[str, Json] | None = None


class Reference(Message):
    """One member of a gallery: a good part, a reference, a specimen or an item to be found."""

    id: Annotated[str, Field(min_length=1, max_length=256)]
    gallery: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^/]+$")] = "default"
    dataref: str | None = None
    sha256: Sha256 | None = None
    size: Annotated[int, Field(ge=0)] | None = None
    content_type: str | None = None
    content: bytes | None = Field(default=None, exclude=True, repr=False)
    subject: str | None = None
    label: str | None = None
    removed: bool = False
    """True takes the member out of its gallery, in force from the next batch on."""
    metadata: dict[str, Json] | None = None
