"""Brokers for the tests: the embedded one always, a real Kafka where there is one."""

from collections.abc import Iterator
from pathlib import Path

import hypothesis  # noqa: F401 - its pytest plugin would import it at the very end
import pytest

from stream.embedded import EmbeddedBroker
from stream.local_kafka import LocalKafka, find_kafka_home

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """A real Kafka, shared by all tests; they keep apart by topic and group."""
    home = find_kafka_home()
    if home is None:
        pytest.skip("no real Kafka: set FEEDSIGHT_KAFKA_HOME to a distribution's folder, and install Java 17")
    broker = LocalKafka(home, tmp_path_factory.mktemp("kafka"))
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture(scope="session")
def embedded_bootstrap() -> Iterator[str]:
    """The embedded broker's address."""
    with EmbeddedBroker() as broker:
        yield broker.bootstrap


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.broker)])
def bootstrap(request: pytest.FixtureRequest) -> str:
    """Each test that takes this runs on the embedded broker and on a real Kafka."""
    if request.param == "embedded":
        return str(request.getfixturevalue("embedded_bootstrap"))
    return str(request.getfixturevalue("real_kafka").bootstrap)


@pytest.fixture
def real_bootstrap(real_kafka: LocalKafka) -> str:
    """The address of the real Kafka."""
    return real_kafka.bootstrap


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data beside the checkout."""
    if not DATA.is_dir():
        pytest.skip("no data folder beside the checkout")
    return DATA
