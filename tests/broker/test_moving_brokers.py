"""What one broker alone can't show: a coordinator that moves, a broker of two that goes, a slow round trip.

On the embedded broker, with the same memory of what was committed as in test_error_codes.
"""

import threading
from collections import Counter
from collections.abc import Callable

import pytest

from stream.embedded import ApiKey, EmbeddedBroker
from tests.broker import test_error_codes as error_codes
from tests.broker.test_error_codes import IDS, LIMIT_S, Memory, memory_of_this_case
from tests.support.lanes import running, until
from tests.support.workers import EchoWorker

remembered = error_codes.remembered  # the fixture

SLOW_MS = 1_000


def coordinator_moves(broker: EmbeddedBroker, group: str) -> None:
    broker.move_group(group, 1)
    broker.move_group(group, 2)


def a_broker_goes_and_comes_back(broker: EmbeddedBroker, group: str) -> None:
    broker.set_down(2)
    threading.Timer(2.0, broker.set_up, (2,)).start()


def a_second_a_round_trip(broker: EmbeddedBroker, group: str) -> None:
    for number in (1, 2):
        broker.set_round_trip(SLOW_MS, number)


@pytest.mark.parametrize("fault", [coordinator_moves, a_broker_goes_and_comes_back, a_second_a_round_trip])
async def test_everything_is_answered_once(fault: Callable[[EmbeddedBroker, str], None]) -> None:
    memory = Memory()
    memory_of_this_case.set(memory)
    with EmbeddedBroker(brokers=2) as broker:
        settings = await error_codes._settings(broker, ApiKey.PRODUCE)
        gate = threading.Event()
        worker = EchoWorker(lambda _: gate.wait(LIMIT_S) if memory.answered else None)

        async def answered(wanted: int) -> bool:
            assert lane.fatal is None
            return memory.answered.total() >= wanted

        async with running(settings, worker) as lane:
            try:
                await until(lambda: answered(1), LIMIT_S)
                fault(broker, settings.kafka.group + ".text")
                gate.set()
                await until(lambda: answered(len(IDS)), 3 * LIMIT_S)
            finally:
                gate.set()
        for number in (1, 2):
            broker.set_round_trip(0, number)
    assert memory.answered == Counter(IDS)
