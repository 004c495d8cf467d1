"""Settings of the connection to Kafka, the topics and the lanes."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from config.section import Section

ADDRESS: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")
"""HOST:PORT, an IPv6 address in brackets."""


class Delivery(StrEnum):
    """What a lane promises."""

    EXACTLY_ONCE = "exactly_once"
    """Results, dead letters and input offsets in one transaction."""
    AT_LEAST_ONCE = "at_least_once"
    """For brokers without transactions: a crash may repeat results, with the same `result_id`."""


class KafkaSettings(Section):
    """How to reach the brokers.

    Attributes:
        bootstrap: `host:port`, several joined by commas.
        group: prefix of the consumer groups and transactional ids; lanes append their names.
        security_protocol: PLAINTEXT, SSL, SASL_SSL or SASL_PLAINTEXT.
        sasl_mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
        sasl_username: with sasl_mechanism.
        sasl_password: with sasl_mechanism; better set as FEEDSIGHT_KAFKA__SASL_PASSWORD than in a file.
        ssl_cafile: the authority that signed the brokers' certificates; left out, the system's.
        ssl_certfile: the client's own certificate, where the brokers ask for one.
        ssl_keyfile: the key to ssl_certfile.
        ssl_key_password: where ssl_keyfile is encrypted; better set in the environment than in a file.
        check_crcs: verify each batch that is read. The embedded broker writes commit markers whose checksum
            is wrong, so readers of it need false.
        fetch_max_wait_ms: how long a broker may hold an answer back while there is nothing to read. A real
            one answers as soon as there is something, the embedded one only when the time is over.
        allow_plaintext_sasl: SASL without TLS sends passwords in the clear; refused unless this is true.
        session_timeout_ms: a worker silent for longer loses its partitions.
        heartbeat_interval_ms: between signs of life; a third of the session at most.
        request_timeout_ms: how long an answer may take.
    """

    bootstrap: str = "127.0.0.1:9092"
    group: str = Field("feedsight", pattern=r"^[A-Za-z0-9._-]+$")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    ssl_key_password: SecretStr | None = None
    allow_plaintext_sasl: bool = False
    session_timeout_ms: int = Field(30_000, ge=1_000)
    heartbeat_interval_ms: int = Field(3_000, ge=100)
    request_timeout_ms: int = Field(40_000, ge=1_000)
    check_crcs: bool = True
    fetch_max_wait_ms: int = Field(200, ge=1)

    @field_validator("bootstrap")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        """Refuse what no client could read: it would raise in the middle of its start."""
        for address in value.split(","):
            found = ADDRESS.fullmatch(address.strip())
            if not found or not 0 < int(found[1]) < 65_536:
                raise ValueError(f"{address.strip()!r} is not HOST:PORT")
        return value

    @model_validator(mode="after")
    def _sasl_needs_tls(self) -> Self:
        if self.security_protocol == "SASL_PLAINTEXT" and not self.allow_plaintext_sasl:
            raise ValueError(
                "security_protocol SASL_PLAINTEXT would send passwords in the clear: "
                "use SASL_SSL, or set kafka.allow_plaintext_sasl if you mean it"
            )
        uses_sasl = self.security_protocol.startswith("SASL")
        if self.sasl_mechanism and not uses_sasl:
            raise ValueError(
                f"sasl_mechanism is set but security_protocol is {self.security_protocol}: use SASL_SSL"
            )
        if uses_sasl and not (self.sasl_mechanism and self.sasl_username and self.sasl_password):
            raise ValueError(
                f"{self.security_protocol} needs sasl_mechanism, sasl_username and sasl_password"
            )
        return self


class TopicSettings(Section):
    """Names and sizes of the topics.

    Attributes:
        prefix: before each topic's name; another prefix is another, separate Feedsight.
        partitions: of each topic that carries traffic, when it is created.
        replication: copies of each partition, when it is created.
    """

    prefix: str = Field("feedsight.", pattern=r"^[A-Za-z0-9._-]*$")
    partitions: int = Field(4, ge=1)
    replication: int = Field(1, ge=1)


class LaneSettings(Section):
    """How a lane moves messages.

    Attributes:
        delivery: what is promised.
        max_queue_bytes: fetched and not yet answered; above it the consumer is paused, below half resumed.
        max_queue_items: the same limit in messages; whichever is reached first counts.
        max_transaction_items: results in one transaction at most.
        drain_timeout_s: on SIGTERM or a rebalance, how long in-flight work may take before it is given up.
        transaction_timeout_ms: the broker aborts a transaction that stays open longer.
        watchdog_s: a process that has work and makes no progress for this long is ended, status 1.
        inference_timeout_s: a model that has not answered a batch after this long hangs: the process
            ends, status 1. A message that makes it hang three times is dead-lettered.
        retries: attempts at a batch after a transient error, before its messages are dead-lettered.
        unknown_fields: a field that no message has: `reject` dead-letters, `ignore` drops the field.
    """

    delivery: Delivery = Delivery.EXACTLY_ONCE
    max_queue_bytes: int = Field(64 * 2**20, ge=1_024)
    max_queue_items: int = Field(12_000, ge=1)
    max_transaction_items: int = Field(4_000, ge=1)
    drain_timeout_s: float = Field(20.0, gt=0)
    transaction_timeout_ms: int = Field(60_000, ge=1_000)
    watchdog_s: float = Field(120.0, gt=0)
    inference_timeout_s: float = Field(60.0, gt=0)
    retries: int = Field(3, ge=0)
    unknown_fields: Literal["reject", "ignore"] = "reject"


class MetricsSettings(Section):
    """What the outside sees.

    Attributes:
        host: where `/metrics` and `/health` listen; loopback unless you say otherwise.
        port: 0 turns the endpoint off.
        interval_s: between snapshots on the metrics topic.
    """

    host: str = "127.0.0.1"
    port: int = Field(6_066, ge=0, le=65_535)
    interval_s: float = Field(5.0, gt=0)
