"""Fetches what a claim check points to, and nothing else.

A `dataref` comes from outside, so it may only lead into folders and to hosts that the settings allow: a path
that leaves its folder by `..` or a symbolic link, a host that is not listed, a redirect elsewhere and an
address inside the own network are refused.
"""

import hashlib
import http.client
import os
import socket
import ssl
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from config import ImageSettings
from workers.errors import MessageError, PipelineError, TransientError
from workers.image.pinned_connection import HTTPS_PORT, PinnedConnection, is_public_address, left

MAX_REDIRECTS: Final = 3
CHUNK_BYTES: Final = 64 * 1024

Resolve = Callable[[str, int], Sequence[str]]
"""Gives the addresses of a host and port."""


class ClaimChecks:
    """Redeems claim checks. Thread-safe.

    Args:
        settings: what is allowed, and the caps on bytes and time.
        resolve: looks up addresses; the system's resolver unless a test brings another.
        is_public: judges an address; only public ones are connected to.
        tls: how servers are verified; the system's certificates where it is left out.
    """

    def __init__(
        self,
        settings: ImageSettings,
        resolve: Resolve | None = None,
        is_public: Callable[[str], bool] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._folders = tuple(Path(os.path.realpath(folder)) for folder in settings.allowed_folders)
        self._hosts = frozenset(host.lower() for host in settings.allowed_hosts)
        self._max_bytes = settings.max_bytes
        self._timeout_s = settings.fetch_timeout_s
        self._resolve = resolve or _addresses
        self._is_public = is_public or is_public_address
        self._tls = tls

    def fetch(self, dataref: str, *, size: int | None = None, sha256: str | None = None) -> bytes:
        """Fetch and verify.

        Args:
            dataref: a path, a `file:` address or an `https:` address.
            size: bytes it must have.
            sha256: hash it must have, hexadecimal.

        Raises:
            MessageError: `claim_check_refused`, `claim_check_mismatch` or `too_large`.
            TransientError: `claim_check_unreachable`: it is not there, or not now.
        """
        if size is not None and size > self._max_bytes:
            raise _too_large(size, self._max_bytes)
        try:
            parts = urlsplit(dataref)
        except ValueError as error:
            raise _refused("the address can't be read") from error
        scheme = parts.scheme.lower()
        if "\0" in dataref:
            raise _refused("the address holds a null character")
        if scheme == "https":
            content = self._fetch_https(parts, time.monotonic() + self._timeout_s)
        elif scheme == "file":
            if parts.netloc not in ("", "localhost"):
                raise _refused("file: addresses may not name a host")
            content = self._read_file(Path(unquote(parts.path)))
        elif not scheme:
            content = self._read_file(Path(dataref))
        else:
            raise _refused(f"the scheme {scheme!r} is not allowed")
        verify(content, size=size, sha256=sha256)
        return content

    def _read_file(self, path: Path) -> bytes:
        if not self._folders:
            raise _refused("no folder is allowed (image.allowed_folders)")
        candidates = [path] if path.is_absolute() else [folder / path for folder in self._folders]
        try:
            real = [Path(os.path.realpath(candidate)) for candidate in candidates]
        except (OSError, ValueError) as error:
            raise _refused("the path can't be read") from error
        inside = [(folder, one) for one in real for folder in self._folders if one.is_relative_to(folder)]
        if not inside:
            raise _refused("the path is outside the allowed folders")
        folder, chosen = next(((f, one) for f, one in inside if one.exists()), inside[0])
        try:
            handle = _open_below(folder, chosen.relative_to(folder).parts)
            try:
                facts = os.fstat(handle)
                if not stat.S_ISREG(facts.st_mode):
                    raise _refused("the path is not a plain file")
                if facts.st_size > self._max_bytes:
                    raise _too_large(facts.st_size, self._max_bytes)
                with os.fdopen(handle, "rb", closefd=False) as file:
                    content = file.read(self._max_bytes + 1)
            finally:
                os.close(handle)  # fdopen would leave a folder's open
        except OSError as error:
            raise _unreachable(f"the file can't be read: {error.strerror or type(error).__name__}") from error
        if len(content) > self._max_bytes:
            raise _too_large(len(content), self._max_bytes)
        return content

    def _fetch_https(self, parts: SplitResult, deadline: float) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._get(parts, deadline)
            if isinstance(answer, bytes):
                return answer
            try:
                parts = urlsplit(urljoin(parts.geturl(), answer))
            except ValueError as error:
                raise _refused("a redirect leads to no address") from error
            if parts.scheme.lower() != "https":
                raise _refused("a redirect leaves https")
        raise _refused(f"more than {MAX_REDIRECTS} redirects")

    def _get(self, parts: SplitResult, deadline: float) -> bytes | str:
        """Give the body, or where a redirect leads."""
        host, port = self._allowed(parts)
        address = self._public_address(host, port)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection = PinnedConnection(host, port, address, self._tls, deadline)
        try:
            connection.request("GET", target, headers={"User-Agent": "feedsight", "Accept": "image/*"})
            response = connection.getresponse()
            if response.status in (301, 302, 303, 307, 308):
                return response.headers.get("Location") or ""
            if response.status != http.client.OK:
                raise _unreachable(f"the server answered {response.status}")
            return self._body(response, deadline)
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            raise _unreachable(f"the fetch failed: {type(error).__name__}") from error
        finally:
            connection.release()

    def _allowed(self, parts: SplitResult) -> tuple[str, int]:
        try:
            host, port = (parts.hostname or "").lower(), parts.port or HTTPS_PORT
        except ValueError as error:
            raise _refused("the address has no valid port") from error
        if parts.username is not None or parts.password is not None:
            raise _refused("the address carries a user name")
        listed = f"{host}:{port}" in self._hosts or (port == HTTPS_PORT and host in self._hosts)
        if not host or not listed:
            raise _refused("the host is not allowed (image.allowed_hosts)")
        return host, port

    def _public_address(self, host: str, port: int) -> str:
        """Look the host up once and connect to what was checked, so that a second look-up can't differ."""
        try:
            addresses = self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise _unreachable("the host has no address") from error
        if not addresses:
            raise _unreachable("the host has no address")
        if not all(self._is_public(address) for address in addresses):
            raise _refused("the host's address is not public")
        return addresses[0]

    def _body(self, response: http.client.HTTPResponse, deadline: float) -> bytes:
        length = response.headers.get("Content-Length", "")
        if length.isdigit() and int(length) > self._max_bytes:
            raise _too_large(int(length), self._max_bytes)
        chunks, total = [], 0
        while True:
            left(deadline)
            chunk = response.read1(CHUNK_BYTES)
            if not chunk:
                break
            total += len(chunk)
            if total > self._max_bytes:
                raise _too_large(total, self._max_bytes)
            chunks.append(chunk)
        left(deadline)  # cut off at the deadline, a body without a length looks whole
        if length.isdigit() and total != int(length):
            raise _unreachable("the server closed before the end")
        return b"".join(chunks)


def _open_below(folder: Path, parts: Sequence[str]) -> int:
    """Open a file below a folder step by step, following no link on the way: give its descriptor.

    The path was real when it was judged; a folder on it may have become a link since.
    """
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            step = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            os.close(at)
            at = step
        name = parts[-1] if parts else "."
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
    finally:
        os.close(at)


def _addresses(host: str, port: int) -> list[str]:
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def verify(content: bytes, *, size: int | None, sha256: str | None) -> None:
    """Check the size and hash that a message states.

    Raises:
        MessageError: `claim_check_mismatch`.
    """
    if size is not None and len(content) != size:
        raise MessageError(f"{len(content)} bytes instead of {size}", reason="claim_check_mismatch")
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise MessageError("the sha256 differs", reason="claim_check_mismatch")


def _refused(detail: str) -> PipelineError:
    return MessageError(detail, reason="claim_check_refused")


def _unreachable(detail: str) -> PipelineError:
    return TransientError(detail, reason="claim_check_unreachable")


def _too_large(size: int, cap: int) -> PipelineError:
    return MessageError(f"{size} bytes, more than {cap}", reason="too_large")
