"""An https connection to one address that was checked, cut at a deadline; and which addresses are public."""

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import Final

HTTPS_PORT: Final = 443

NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
GLOBAL_UNICAST: Final = ipaddress.ip_network("2000::/3")
SPECIAL: Final = tuple(
    map(
        ipaddress.ip_network,
        ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
)
"""Parts of it that are no hosts' own. Source: IANA's special-purpose address registries."""


class PinnedConnection(http.client.HTTPConnection):
    """Connects to one checked address by TLS; the certificate is verified for the host's name.

    At the deadline the connection is cut, whatever is being read: a server that sends a byte now and then,
    in its handshake or its headers, would pass every time-out of a single read.
    """

    default_port = HTTPS_PORT

    def __init__(
        self, host: str, port: int, address: str, tls: ssl.SSLContext | None, deadline: float
    ) -> None:
        super().__init__(host, port)
        self._verifier = tls or ssl.create_default_context()
        self._address = address
        self._deadline = deadline
        self._twin: socket.socket | None = None
        self._timer: threading.Timer | None = None

    def connect(self) -> None:
        """Connect to the checked address, within the deadline."""
        plain = socket.create_connection((self._address, self.port), left(self._deadline))
        try:
            self._twin = plain.dup()  # the same connection: what wraps `plain` takes it over
            self._timer = threading.Timer(left(self._deadline), self._cut, (self._twin,))
            self._timer.daemon = True
            self._timer.start()
            self.sock = self._verifier.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise

    def release(self) -> None:
        """Close it, and let the timer go: `close` alone is called by http.client before a body is read."""
        self.close()
        timer, twin = self._timer, self._twin
        if timer is not None:
            timer.cancel()
        if twin is not None:
            twin.close()

    @staticmethod
    def _cut(twin: socket.socket) -> None:
        with suppress(OSError):
            twin.shutdown(socket.SHUT_RDWR)


def left(deadline: float) -> float:
    """Seconds until a deadline on the monotonic clock; TimeoutError where it is over."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time for the fetch is over")
    return left


def is_public_address(address: str) -> bool:
    """Whether an address is one of the open internet's, and leads nowhere else by another way of writing.

    Python's `is_global` says yes to multicast and to addresses that carry a private IPv4 address within
    (NAT64, 6to4, IPv4-compatible). What a translator may turn into IPv4 is judged by that.

    Args:
        address: IPv4 or IPv6, as a resolver gives it; with a zone it is local.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found.scope_id is not None:
            return False
        inner = found.ipv4_mapped
        if inner is None and found in NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF)
        if inner is None:
            return found in GLOBAL_UNICAST and not any(found in network for network in SPECIAL)
        found = inner
    return found.is_global and not found.is_multicast and not any(found in network for network in SPECIAL)
