"""What aiokafka raises by itself, without a broker's word, is tried again like any error that may pass."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    IllegalOperation,
    KafkaConnectionError,
    ProducerFenced,
)

from stream.claims import Claims
from stream.outlet import Committed, FencedError, all_of, translated
from stream.transactions import TransactionalOutlet, Transactions
from workers.errors import FatalError, TransientError

PARTITION = TopicPartition("in", 0)


class BrokenProducer:
    """Fails to start, as aiokafka's does where it lost its brokers in between."""

    _sender = None

    class client:  # noqa: N801 - aiokafka's name
        @staticmethod
        async def close() -> None:
            return

    _client, _coordinator, _fetcher = client, None, None

    async def start(self) -> None:
        raise AssertionError("Did we not perform bootstrap?")

    async def stop(self) -> None:
        return


async def test_a_producer_that_lost_its_brokers_is_no_bug_of_ours() -> None:
    async def committed(_: TopicPartition) -> Committed | None:
        return None

    async def beginning(_: TopicPartition) -> int:
        return 0

    def make(_: str) -> Any:
        return BrokenProducer()

    writer = Transactions("g", make, Claims("g", make, committed, beginning))
    outlet = TransactionalOutlet(PARTITION, writer)
    with pytest.raises(TransientError, match="bootstrap"):
        await outlet.open()
    await outlet.close()


async def fails(error: BaseException, after: int = 0) -> None:
    for _ in range(after):
        await asyncio.sleep(0)
    raise error


def both(first: BaseException, second: BaseException) -> Awaitable[Any]:
    return all_of(fails(first), fails(second, after=2))


async def test_a_brokers_word_comes_before_what_aiokafka_makes_of_it() -> None:
    refused = GroupAuthorizationFailedError("g")
    with pytest.raises(GroupAuthorizationFailedError):
        await both(IllegalOperation("not in a transaction"), refused)
    with pytest.raises(ProducerFenced):
        await both(KafkaConnectionError("gone"), ProducerFenced())


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (IllegalOperation("not in a transaction"), TransientError),
        (KafkaConnectionError("gone"), TransientError),
        (GroupAuthorizationFailedError("g"), FatalError),
        (ProducerFenced(), FencedError),
    ],
)
def test_errors_are_classed_by_what_to_do_next(error: Exception, kind: type[Exception]) -> None:
    assert type(translated(error)) is kind
