"""What every message shares."""

from pydantic import BaseModel, ConfigDict

Json = str | int | float | bool | None
"""A JSON scalar, as carried in metadata."""


class Message(BaseModel):
    """A frozen message; unknown fields are errors, so that a misspelt field is noticed and not lost."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Origin(Message):
    """Where in Kafka an input was read."""

    topic: str
    partition: int
    offset: int
