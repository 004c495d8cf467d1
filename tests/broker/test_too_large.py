"""Outputs larger than the broker takes end in a dead letter; they stop neither the lane nor others."""

from collections.abc import Sequence

import orjson
import pytest

from schemas import Candidate, Post, TextResult
from stream.client import Outgoing
from stream.dead_letter import from_headers
from tests.support.lanes import committed_and_end, everything, fresh_settings, running, send, until
from tests.support.workers import EchoWorker
from workers.errors import PipelineError

pytestmark = pytest.mark.broker

TOO_MANY_BYTES = 1_200_000
"""Above Kafka's default message.max.bytes of 1,048,588."""


class LongWinded(EchoWorker):
    """Gives a huge result for the post `huge`."""

    def run(self, prepared: Sequence[Post | PipelineError]) -> Sequence[TextResult | PipelineError]:
        results = super().run(prepared)
        return [
            result.model_copy(
                update={"candidates": (Candidate(label="x" * TOO_MANY_BYTES, probability=1.0),)}
            )
            if isinstance(result, TextResult) and result.id == "huge"
            else result
            for result in results
        ]


async def test_a_result_too_large_for_the_broker_is_dead_lettered_alone(real_bootstrap: str) -> None:
    settings = fresh_settings(real_bootstrap)
    ids = [f"p{number}" for number in range(40)]
    ids.insert(20, "huge")
    await send(settings, "posts", [Outgoing(b"k", orjson.dumps({"id": i, "text": "goal!"})) for i in ids])

    async def all_committed() -> bool:
        committed, end = await committed_and_end(settings, "text", "posts")
        return committed == end

    async with running(settings, LongWinded()):
        await until(all_committed)
    (letter,) = await everything(settings, "dead-letters")
    assert from_headers(letter.headers).reason == "too_large"
    assert orjson.loads(letter.value or b"")["id"] == "huge"
    found = [orjson.loads(r.value or b"")["id"] for r in await everything(settings, "labels")]
    assert found == [i for i in ids if i != "huge"]


async def test_a_malformed_input_as_large_as_the_broker_takes_loses_its_value(real_bootstrap: str) -> None:
    """With its facts it is too large; its offset says where it lies."""
    settings = fresh_settings(real_bootstrap)
    malformed = b"{" + b"x" * 1_048_400
    posts = [Outgoing(b"k", orjson.dumps({"id": f"p{n}", "text": "goal!"})) for n in range(10)]
    await send(settings, "posts", [*posts[:5], Outgoing(b"k", malformed), *posts[5:]])

    async def all_committed() -> bool:
        committed, end = await committed_and_end(settings, "text", "posts")
        return committed == end

    async with running(settings, EchoWorker()):
        await until(all_committed)
    (letter,) = await everything(settings, "dead-letters")
    assert letter.value is None
    assert dict(letter.headers)["value_omitted"] == str(len(malformed)).encode()
    assert len(await everything(settings, "labels")) == 10
