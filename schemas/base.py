"""What every message shares."""

from pydantic import BaseModel, ConfigDict

Json = str | int | float | bool | None
"""A JSON scalar, as carried in metadata."""


class Message(BaseModel):
    """A frozen message; unknown fields are errors, so that a misspelt field is noticed and not lost."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def to_json(self) -> bytes:
        """Give the message as JSON in UTF-8; fields that were never set are left out."""
        return self.__pydantic_serializer__.to_json(self, exclude_unset=True)


class Origin(Message):
    """Where in Kafka an input was read."""

    topic: str
    partition: int
    offset: int
