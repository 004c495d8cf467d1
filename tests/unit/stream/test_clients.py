"""What is set in aiokafka from outside is still there to be set."""

import inspect

from aiokafka.producer import sender

from stream import clients


def test_the_wait_for_markers_is_the_one_that_aiokafka_reads() -> None:
    assert sender.BACKOFF_OVERRIDE == clients.MARKERS_BACKOFF_S
    assert "BACKOFF_OVERRIDE" in inspect.getsource(sender.AddPartitionsToTxnHandler)
