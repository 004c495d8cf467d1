"""A Kafka that asks who you are, for the tests that need one."""

from collections.abc import Iterator

import pytest

from stream.local_kafka import find_kafka_home
from tests.support.secure_kafka import SecureKafka, openssl_missing


@pytest.fixture(scope="session")
def secure_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    """A real Kafka with TLS, SASL and an authoriser."""
    home = find_kafka_home()
    if home is None:
        pytest.skip("no real Kafka: set FEEDSIGHT_KAFKA_HOME to a distribution's folder, and install Java 17")
    if (missing := openssl_missing()) is not None:
        pytest.skip(missing)
    broker = SecureKafka(home, tmp_path_factory.mktemp("secure-kafka"))
    try:
        broker.start()
        yield broker
    finally:
        broker.kill()
