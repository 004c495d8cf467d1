"""Connection settings in the words of aiokafka, shared by every client, and why a connection is refused."""

import asyncio
import logging
import ssl
from collections.abc import Iterable
from typing import Any, Final

from aiokafka.conn import create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from config import KafkaSettings
from workers.errors import FatalError, PipelineError, TransientError

PROBE_TIMEOUT_S: Final = 10.0
"""To find out why a client was not let in; a broker that needs longer is as good as down."""


class _NoCredentials(logging.Filter):
    """Drops what aiokafka logs of an authentication at DEBUG: SASL PLAIN's request holds the password."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record may be logged."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        return not any("SaslAuth" in type(argument).__name__ for argument in arguments)


_no_credentials: Final = _NoCredentials()


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """Give the keyword arguments that every aiokafka client takes.

    Args:
        settings: the section `kafka`; it has already refused SASL without TLS.

    Raises:
        FatalError: a certificate or key file can't be read.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap,
        "security_protocol": settings.security_protocol,
        "request_timeout_ms": settings.request_timeout_ms,
    }
    if settings.security_protocol.endswith("SSL"):
        options["ssl_context"] = _ssl_context(settings)
    if settings.sasl_mechanism is not None and settings.sasl_password is not None:
        logging.getLogger("aiokafka.conn").addFilter(_no_credentials)  # adding it twice changes nothing
        options["sasl_mechanism"] = settings.sasl_mechanism
        options["sasl_plain_username"] = settings.sasl_username
        options["sasl_plain_password"] = settings.sasl_password.get_secret_value()
    return options


async def refusal(settings: KafkaSettings, topics: Iterable[str] = ()) -> FatalError | None:
    """Whether the brokers let this client in and show it its topics, so that a worker need not wait in vain.

    Args:
        settings: the section `kafka`.
        topics: those that it needs. A broker does not list what a client has no right to: to wait for such
            a topic looks like waiting for one that is not there yet.

    Returns:
        Why not; None where they do, where there is nothing to be refused, or where no broker answers: a
        worker waits for that.
    """
    if settings.security_protocol == "PLAINTEXT":
        return None
    found = await _ask(settings, None, tuple(topics))
    return found if isinstance(found, FatalError) else None


async def why_refused(settings: KafkaSettings, error: Exception) -> PipelineError:
    """Find out why a client could not start: aiokafka says only that it could not.

    Args:
        settings: as the client had them.
        error: what the client raised.

    Returns:
        FatalError where the settings are wrong: a password, a certificate, a protocol; TransientError where
        the broker does not answer. One line, without any secret.
    """
    return await _ask(settings, error, ())


async def _ask(settings: KafkaSettings, error: Exception | None, topics: tuple[str, ...]) -> PipelineError:
    options = client_options(settings)
    found: PipelineError | None = None
    for address in options.pop("bootstrap_servers").split(","):
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                hidden = await _hidden(address.strip(), options, topics)
        except (KafkaError, OSError, TimeoutError, AssertionError) as problem:
            judged = _judged(settings, address.strip(), problem)
            if isinstance(judged, FatalError) or found is None:
                found = judged
            continue
        if hidden:
            who = f"the user {settings.sasl_username!r}" if settings.sasl_username else "this client"
            return FatalError(f"Kafka gives {who} no right to {', '.join(hidden)}: see docs/security.md")
        why = f": {type(error).__name__}: {error}" if error is not None else " answers"
        return TransientError(f"Kafka at {settings.bootstrap}{why}")
    return found or TransientError(f"no Kafka answers at {settings.bootstrap}")


async def _hidden(address: str, options: dict[str, Any], topics: tuple[str, ...]) -> list[str]:
    """Connect, and ask for topics by name: those that this client has no right to.

    Where a client's certificate is refused, TLS 1.3 says so only when something is asked.
    """
    host, _, port = address.rpartition(":")
    connection = await create_conn(host.strip("[]"), int(port), **options)
    try:
        asked = MetadataRequest(list(topics), allow_auto_topic_creation=False)
        answer = await connection.send(asked)
        return [name for code, name, *_ in answer.topics if code == TopicAuthorizationFailedError.errno]
    finally:
        connection.close()


def _judged(settings: KafkaSettings, address: str, problem: Exception) -> PipelineError:
    cause = problem.__cause__
    if isinstance(problem, SaslAuthenticationFailed):
        return FatalError(
            f"Kafka at {address} refuses the user {settings.sasl_username!r} ({settings.sasl_mechanism}): "
            "wrong kafka.sasl_username or kafka.sasl_password"
        )
    if isinstance(problem, (UnsupportedSaslMechanismError, IllegalSaslStateError)):
        return FatalError(f"Kafka at {address} takes no {settings.sasl_mechanism}: see kafka.sasl_mechanism")
    if isinstance(problem, ssl.SSLCertVerificationError):
        why = problem.verify_message.rstrip(".")
        return FatalError(f"the certificate of Kafka at {address} is not trusted: {why} (kafka.ssl_cafile)")
    if isinstance(cause, ssl.SSLError):
        what = "the client certificate" if settings.ssl_certfile else "a client without a certificate"
        return FatalError(f"Kafka at {address} refuses {what}: {cause.reason} (kafka.ssl_certfile)")
    if isinstance(problem, (KafkaError, ConnectionResetError, ssl.SSLError)):
        return TransientError(
            f"Kafka at {address} hangs up; does it expect another kafka.security_protocol "
            f"than {settings.security_protocol}?"
        )
    detail = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
    return TransientError(f"no Kafka answers at {address}: {detail}")


def _ssl_context(settings: KafkaSettings) -> ssl.SSLContext:
    secret = settings.ssl_key_password

    def password() -> str:
        if secret is None:  # OpenSSL would ask for it on the terminal, and wait
            raise ValueError("the key is encrypted: set kafka.ssl_key_password")
        return secret.get_secret_value()

    try:
        context = ssl.create_default_context(cafile=settings.ssl_cafile)
        if settings.ssl_certfile is not None:
            context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile, password)
    except (OSError, ValueError) as error:
        raise FatalError(f"TLS files can't be used: {error}") from error
    return context
