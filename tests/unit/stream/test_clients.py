"""What is set in aiokafka from outside is still there to be set."""

import inspect

from aiokafka.producer import sender

from config import KafkaSettings
from stream import clients


def test_the_wait_for_markers_is_the_one_that_aiokafka_reads() -> None:
    assert sender.BACKOFF_OVERRIDE == clients.MARKERS_BACKOFF_S
    assert "BACKOFF_OVERRIDE" in inspect.getsource(sender.AddPartitionsToTxnHandler)


async def test_a_request_of_a_transaction_that_a_broker_refuses_comes_again_soon() -> None:
    producer = clients.transactional_producer(KafkaSettings(bootstrap="127.0.0.1:1"), "t", 1_000)
    assert sender.BaseHandler(producer._sender)._default_backoff == clients.TRANSACTION_BACKOFF_S
    await producer.stop()
