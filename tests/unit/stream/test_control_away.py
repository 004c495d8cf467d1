"""A broker that goes away under the reader of a control topic is waited for; it does not crash the worker."""

import pytest
from aiokafka.errors import KafkaError

from config import KafkaSettings
from stream import clients
from stream.control_topic import ControlTopic
from workers.errors import TransientError


class Away:
    """A consumer whose broker is gone."""

    async def topics(self) -> set[str]:
        raise KafkaError("Unable to get cluster metadata over all known brokers")


async def test_a_broker_that_can_not_say_its_topics_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "reader", lambda *_, **__: Away())
    with pytest.raises(TransientError, match="metadata"):
        await ControlTopic(KafkaSettings(), "label-sets").exists()
