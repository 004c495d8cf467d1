"""What somebody writes into a claim check to get elsewhere: other addresses, other folders, all the time."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from config import ImageSettings
from tests.unit.image.test_claim_check import _NoTls
from workers.errors import MessageError, PipelineError, TransientError
from workers.image import claim_check
from workers.image.claim_check import ClaimChecks
from workers.image.pinned_connection import is_public_address


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
     "255.255.255.255", "224.0.0.1", "239.1.1.1", "198.18.0.1", "192.0.0.8", "192.88.99.1", "240.0.0.1",
     "::1", "::", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "::127.0.0.1", "fe80::1",
     "fe80::1%eth0", "2606:4700::1%eth0",
     "fd00::1", "fec0::1", "ff02::1", "64:ff9b::7f00:1", "64:ff9b::a00:1",
     "64:ff9b:1::7f00:1", "2002:7f00:1::", "2001::1", "2001:db8::1", "3fff::1", "5f00::1", "100::1",
     "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "", "localhost"],
)  # fmt: skip
def test_an_address_that_is_not_the_open_internets_is_not_public(address: str) -> None:
    assert not is_public_address(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_the_open_internets_addresses_are_public(address: str) -> None:
    assert is_public_address(address)


HOST = "images.test"


def checks(resolve: Callable[[str, int], list[str]], **settings: object) -> ClaimChecks:
    allowed = ImageSettings.model_validate({"allowed_hosts": [HOST], **settings})
    return ClaimChecks(allowed, resolve, tls=cast("object", _NoTls()))  # type: ignore[arg-type]


def refused(call: Callable[[], object], kind: type[PipelineError] = MessageError) -> str:
    with pytest.raises(kind) as caught:
        call()
    return caught.value.reason


@pytest.mark.parametrize(
    "dataref",
    ["https://images.test@evil.test/a", "https://evil.test#@images.test/a", "https://evil.test?@images.test/a",
     "https://images.test.evil.test/a", "https://images.test./a", "https://images.test:8443/a",
     "https://images.test\\@evil.test/a", "https://images.test%2eevil.test/a", "https://images。test/a",
     "https://images.test:-1/a", "https://images.test:443x/a", "https://[images.test]/a", "https://[::1/a",
     "https://[::ffff:127.0.0.1]/a", "https://2130706433/a", "https://0x7f000001/a", "https:///a", "https:a",
     "HTTP://images.test/a", "gopher://images.test/a", "jar:https://images.test!/a", "\0https://images.test/a",
     "https://images.test\u2100evil/a"],
)  # fmt: skip
def test_an_address_that_only_looks_allowed_is_refused_before_it_is_looked_up(dataref: str) -> None:
    def never(host: str, port: int) -> list[str]:
        raise AssertionError(f"{host} was looked up")

    assert refused(lambda: checks(never).fetch(dataref)) == "claim_check_refused"


@pytest.mark.parametrize(
    "addresses", [["8.8.8.8", "127.0.0.1"], ["::ffff:10.0.0.1"], ["fe80::1%lo"], ["64:ff9b::7f00:1"]]
)
def test_a_name_with_one_private_address_is_refused_whole(addresses: list[str]) -> None:
    fetching = checks(lambda *_: addresses)
    assert refused(lambda: fetching.fetch(f"https://{HOST}/a")) == "claim_check_refused"


def test_a_name_is_looked_up_once_so_that_a_second_answer_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DNS rebinding: public when it is judged, private when it is connected to."""
    answers = [["8.8.8.8"], ["127.0.0.1"]]
    connected: list[tuple[str, int]] = []

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", connect)
    fetching = checks(lambda *_: answers.pop(0))
    assert refused(lambda: fetching.fetch(f"https://{HOST}/a"), TransientError) == "claim_check_unreachable"
    assert connected == [("8.8.8.8", 443)]
    assert len(answers) == 1


@contextmanager
def server(answer: Callable[[socket.socket, threading.Event], None]) -> Iterator[int]:
    """Answers one connection after the other, until the block ends."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while not over.is_set():
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    try:
                        answer(connection, over)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            over.set()
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def local(port: int, **settings: object) -> ClaimChecks:
    allowed = ImageSettings.model_validate({"allowed_hosts": [f"{HOST}:{port}"], **settings})
    return ClaimChecks(allowed, lambda *_: ["127.0.0.1"], lambda _: True, cast("object", _NoTls()))  # type: ignore[arg-type]


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\nbytes of a body "])
def test_a_server_that_drips_is_cut_off_at_the_deadline(first: bytes) -> None:
    """A byte now and then passes every time-out of a single read: in the status, the headers or the body."""

    def drip(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(first)
        while not over.wait(0.02):
            connection.sendall(b"x")

    with server(drip) as port:
        fetching = local(port, fetch_timeout_s=0.3)
        fetch = lambda: fetching.fetch(f"https://{HOST}:{port}/a")  # noqa: E731
        assert refused(fetch, TransientError) == "claim_check_unreachable"


@pytest.mark.parametrize(
    "location",
    ["https://[broken/a", "https://images.test:99999/a", "file:///etc/passwd", "//evil.test/a",
     "http://127.0.0.1/", "https://127.0.0.1/", "\\\\evil\\a"],
)  # fmt: skip
def test_a_redirect_that_leads_elsewhere_or_nowhere_is_refused(location: str) -> None:
    def redirect(connection: socket.socket, over: threading.Event) -> None:
        connection.recv(65_536)
        connection.sendall(
            f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
        )

    with server(redirect) as port:
        fetch = lambda: local(port).fetch(f"https://{HOST}:{port}/a")  # noqa: E731
        assert refused(fetch) == "claim_check_refused"


# Folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "allowed" / "sub").mkdir(parents=True)
    (tmp_path / "allowed" / "sub" / "a.jpg").write_bytes(b"good")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.jpg").write_bytes(b"secret")
    return tmp_path / "allowed"


def test_a_folder_that_becomes_a_link_between_the_look_and_the_opening_is_not_followed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.path.realpath

    def then_swapped(path: str) -> str:
        found = real(path)
        if found.endswith("a.jpg"):
            (folder / "sub").rename(folder / "was")
            (folder / "sub").symlink_to(folder.parent / "other")
        return found

    fetching = ClaimChecks(ImageSettings(allowed_folders=(folder,)))
    monkeypatch.setattr(claim_check.os.path, "realpath", then_swapped)
    with pytest.raises(PipelineError):
        fetching.fetch("sub/a.jpg")


@pytest.mark.parametrize(
    "dataref",
    ["sub/../../other/a.jpg", "./../other/a.jpg", "file:%2e%2e/other/a.jpg", "file:///..%2fother/a.jpg", "..",
     "/proc/self/environ", "file:/proc/self/environ", "//other/a.jpg", "~/a.jpg", "sub/a.jpg\0", "\udfff"],
)  # fmt: skip
def test_no_path_leads_out(folder: Path, dataref: str) -> None:
    fetching = ClaimChecks(ImageSettings(allowed_folders=(folder,)))
    with pytest.raises(PipelineError):
        fetching.fetch(dataref)
    assert fetching.fetch("sub/a.jpg") == b"good"
