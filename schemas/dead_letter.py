"""The facts of a dead letter. The message itself goes on untouched; these facts travel in headers."""

from typing import Annotated

from pydantic import Field

from schemas.base import Message


class DeadLetterFacts(Message):
    """Why a message could not be answered, and where it was read.

    On the topic the facts are UTF-8 headers: `reason`, `source_topic`, `source_partition`, `source_offset`,
    and under the names that Kafka Connect gives them (`__connect.errors.topic` and so on).
    """

    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    stage: str
    exception_class: str
    attempt: Annotated[int, Field(ge=1)] = 1
    failed_at: str
