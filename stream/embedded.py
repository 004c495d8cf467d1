"""A Kafka broker inside this process, for `feedsight demo` and for tests.

librdkafka, which comes with confluent-kafka, carries a mock cluster: real Kafka protocol over TCP on
loopback, with groups, idempotent producers and transactions, so any client in any process can talk to it.

What it is not (each tried; docs/adr/0003-the-embedded-broker.md):

- It keeps at most 5 MiB or 100,000 batches a partition, in memory, and drops the oldest without a word:
  pace the feed and send images by claim check.
- It takes offsets sent to a transaction and forgets them: a worker that commits in transactions starts again
  from the beginning after a restart or a rebalance. Offsets committed without a transaction are kept.
- Its commit markers carry a wrong checksum: readers need `kafka.check_crcs: false`.
- It does not fence a zombie producer and may show aborted records to a `read_committed` reader.
- It answers no CreateTopics, no SASL, no describe-groups or configs. Topics come into being at their first
  use, with four partitions, or through `create_topic`.

For durability, retention, fencing, SASL and TLS use a real Kafka.
"""

import ctypes
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from types import TracebackType
from typing import Any, Final, Self

from stream.topics import TopicSpec
from workers.errors import FatalError

PARTITION_BYTES: Final = 5 * 2**20
"""What the mock cluster keeps of a partition, in bytes (rdkafka_mock.c, `partition_max_size`)."""

PARTITION_BATCHES: Final = 100_000
"""What the mock cluster keeps of a partition, in record batches (rdkafka_mock.c, `partition_max_cnt`)."""

_PRODUCER: Final = 0
"""rd_kafka_type_t RD_KAFKA_PRODUCER: the instance that the cluster hangs on; it never produces."""

_QUIET: Final = b"2"
"""Syslog level CRIT: the cluster's own lines stay off the terminal."""

_TEXT_BYTES: Final = 512
"""Room for librdkafka's error texts, as its own examples have it."""

_pointer, _text, _int = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
_int16, _int32, _size = ctypes.c_int16, ctypes.c_int32, ctypes.c_size_t

_SIGNATURES: Final[Mapping[str, tuple[Any, Sequence[Any]]]] = {
    "rd_kafka_conf_new": (_pointer, ()),
    "rd_kafka_conf_set": (_int, (_pointer, _text, _text, _text, _size)),
    "rd_kafka_new": (_pointer, (_int, _pointer, _text, _size)),
    "rd_kafka_destroy": (None, (_pointer,)),
    "rd_kafka_err2str": (_text, (_int,)),
    "rd_kafka_mock_cluster_new": (_pointer, (_pointer, _int)),
    "rd_kafka_mock_cluster_destroy": (None, (_pointer,)),
    "rd_kafka_mock_cluster_bootstraps": (_text, (_pointer,)),
    "rd_kafka_mock_topic_create": (_int, (_pointer, _text, _int, _int)),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, (_pointer, _int32)),
    "rd_kafka_mock_push_request_errors_array": (None, (_pointer, _int16, _size, ctypes.POINTER(_int))),
    "rd_kafka_mock_clear_request_errors": (None, (_pointer, _int16)),
    "rd_kafka_mock_broker_set_down": (_int, (_pointer, _int32)),
    "rd_kafka_mock_broker_set_up": (_int, (_pointer, _int32)),
    "rd_kafka_mock_broker_set_rtt": (_int, (_pointer, _int32, _int)),
    "rd_kafka_mock_coordinator_set": (_int, (_pointer, _text, _text, _int32)),
}
"""Result and argument types, as librdkafka's rdkafka.h and rdkafka_mock.h declare them."""


class ApiKey(IntEnum):
    """Requests that errors can be pushed for (Kafka protocol, API keys)."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS_TO_TXN = 24
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    TXN_OFFSET_COMMIT = 28


class EmbeddedBroker:
    """A mock cluster that lives as long as the `with` block.

    Its methods may be called from any thread; the cluster runs in a thread of librdkafka's.

    Args:
        brokers: how many; their ids count from 1.
        rebalance_delay_ms: how long a new group waits for members before its first assignment. librdkafka's
            own default is 3,000.

    Example:
        with EmbeddedBroker() as broker:
            broker.create_topics(TopicNames().specs())
            consumer = AIOKafkaConsumer("feedsight.labels", bootstrap_servers=broker.bootstrap)
    """

    def __init__(self, *, brokers: int = 1, rebalance_delay_ms: int = 0) -> None:
        self._brokers = brokers
        self._rebalance_delay_ms = rebalance_delay_ms
        self._library: Any = None
        self._client: int | None = None
        self._cluster: int | None = None

    def __enter__(self) -> Self:
        """Start listening.

        Raises:
            FatalError: librdkafka can't be loaded or has no mock cluster.
        """
        self._library = _load_library()
        self._client = _new_client(self._library)
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._client, self._brokers)
        if not self._cluster:
            self.close()
            raise FatalError("librdkafka could not start its mock cluster")
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, self._rebalance_delay_ms)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop; all topics are gone."""
        self.close()

    def close(self) -> None:
        """Stop; all topics are gone. Closing twice is no error."""
        if self._cluster:
            self._library.rd_kafka_mock_cluster_destroy(self._cluster)
            self._cluster = None
        if self._client:
            self._library.rd_kafka_destroy(self._client)
            self._client = None

    @property
    def bootstrap(self) -> str:
        """`host:port`, several joined by commas."""
        found: bytes = self._library.rd_kafka_mock_cluster_bootstraps(self._running())
        return found.decode("ascii")

    def create_topic(self, name: str, partitions: int) -> None:
        """Create a topic.

        Raises:
            FatalError: it exists, or its name is not one.
        """
        self._call("rd_kafka_mock_topic_create", name.encode(), partitions, 1)

    def create_topics(self, specs: Iterable[TopicSpec]) -> None:
        """Create topics with their partition counts; clean-up policies mean nothing to a mock cluster."""
        for spec in specs:
            self.create_topic(spec.name, spec.partitions)

    def push_errors(self, api_key: ApiKey, codes: Sequence[int]) -> None:
        """Let the next requests of a kind fail, one for each code.

        Args:
            api_key: the kind of request.
            codes: Kafka error codes, first come first served; 0 lets a request pass. librdkafka's -195
                (`RD_KAFKA_RESP_ERR__TRANSPORT`) closes the connection instead of answering.
        """
        errors = (_int * len(codes))(*codes)
        self._library.rd_kafka_mock_push_request_errors_array(self._running(), api_key, len(codes), errors)

    def clear_errors(self, api_key: ApiKey) -> None:
        """Forget the errors still pushed for a kind of request."""
        self._library.rd_kafka_mock_clear_request_errors(self._running(), api_key)

    def set_down(self, broker_id: int = 1) -> None:
        """Close a broker's connections and refuse new ones."""
        self._call("rd_kafka_mock_broker_set_down", broker_id)

    def set_up(self, broker_id: int = 1) -> None:
        """Let a broker answer again."""
        self._call("rd_kafka_mock_broker_set_up", broker_id)

    def set_round_trip(self, milliseconds: int, broker_id: int = 1) -> None:
        """Delay each of a broker's answers."""
        self._call("rd_kafka_mock_broker_set_rtt", broker_id, milliseconds)

    def move_group(self, group: str, broker_id: int) -> None:
        """Make another broker the coordinator of a consumer group."""
        self._call("rd_kafka_mock_coordinator_set", b"group", group.encode(), broker_id)

    def _running(self) -> int:
        if not self._cluster:
            raise RuntimeError("the embedded broker is not running: use it in a `with` block")
        return self._cluster

    def _call(self, function: str, *arguments: object) -> None:
        code = getattr(self._library, function)(self._running(), *arguments)
        if code:
            what = self._library.rd_kafka_err2str(code).decode()
            raise FatalError(f"embedded broker: {function}{arguments}: {what}")


def _load_library() -> Any:
    """Reach librdkafka through confluent-kafka's extension module.

    A symbol is looked up in a library and in all that it depends on, so the name under which the wheel
    bundles librdkafka does not matter.
    """
    try:
        from confluent_kafka import cimpl

        library = ctypes.CDLL(cimpl.__file__)
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, tuple(arguments)
    except (ImportError, OSError, AttributeError) as error:
        raise FatalError(f"no embedded broker: librdkafka can't be used ({error})") from error
    return library


def _new_client(library: Any) -> int:
    text = ctypes.create_string_buffer(_TEXT_BYTES)
    conf = library.rd_kafka_conf_new()
    if library.rd_kafka_conf_set(conf, b"log_level", _QUIET, text, _TEXT_BYTES) != 0:
        raise FatalError(f"no embedded broker: {text.value.decode()}")
    client: int | None = library.rd_kafka_new(_PRODUCER, conf, text, _TEXT_BYTES)
    if not client:
        raise FatalError(f"no embedded broker: {text.value.decode()}")
    return client
