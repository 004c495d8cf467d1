"""A claim check leads where it is allowed to lead, and nowhere else."""

import hashlib
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar, cast

import pytest

from config import ImageSettings
from workers.errors import MessageError, PipelineError, TransientError
from workers.image.claim_check import ClaimChecks

CONTENT = b"the bytes of an image"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    allowed = tmp_path / "allowed"
    (allowed / "sub").mkdir(parents=True)
    (allowed / "a b.jpg").write_bytes(CONTENT)
    (allowed / "sub" / "c.jpg").write_bytes(CONTENT)
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    return allowed


def checks(folder: Path, **settings: object) -> ClaimChecks:
    return ClaimChecks(ImageSettings.model_validate({"allowed_folders": [folder], **settings}))


def reason(fetch: Callable[[], bytes], kind: type[PipelineError] = MessageError) -> str:
    with pytest.raises(kind) as caught:
        fetch()
    return caught.value.reason


@pytest.mark.parametrize(
    "form", ["{0}/a b.jpg", "file://{0}/a%20b.jpg", "file://localhost{0}/a%20b.jpg", "a b.jpg"]
)
def test_paths_inside_are_read(folder, form):
    assert checks(folder).fetch(form.format(folder)) == CONTENT


@pytest.mark.parametrize(
    "form",
    [
        "{0}/../secret.jpg",
        "{0}/sub/../../secret.jpg",
        "file://{0}/%2e%2e/secret.jpg",
        "../secret.jpg",
        "/etc/passwd",
        "file:///etc/passwd",
        "file://elsewhere{0}/a%20b.jpg",
        "http://example.com/a.jpg",
        "ftp://example.com/a.jpg",
        "data:image/png;base64,AAAA",
        "https://example.com/a.jpg",
        "https://[broken/a.jpg",
        "a\0b.jpg",
    ],
)
def test_what_is_not_allowed_is_refused(folder, form):
    assert reason(lambda: checks(folder).fetch(form.format(folder))) == "claim_check_refused"


def test_links_can_not_lead_outside(folder):
    (folder / "link.jpg").symlink_to(folder.parent / "secret.jpg")
    (folder / "way").symlink_to(folder.parent)
    assert reason(lambda: checks(folder).fetch(f"{folder}/link.jpg")) == "claim_check_refused"
    assert reason(lambda: checks(folder).fetch(f"{folder}/way/secret.jpg")) == "claim_check_refused"


def test_no_folder_is_allowed_by_default(folder):
    assert reason(lambda: ClaimChecks(ImageSettings()).fetch(f"{folder}/a b.jpg")) == "claim_check_refused"


def test_folders_and_pipes_are_refused(folder):
    os.mkfifo(folder / "pipe")
    assert reason(lambda: checks(folder).fetch(f"{folder}/pipe")) == "claim_check_refused"
    assert reason(lambda: checks(folder).fetch(f"{folder}/sub"), PipelineError) in {
        "claim_check_refused",
        "claim_check_unreachable",
    }


def test_a_missing_file_may_still_come(folder):
    fetch = lambda: checks(folder).fetch(f"{folder}/later.jpg")  # noqa: E731
    assert reason(fetch, TransientError) == "claim_check_unreachable"


def test_size_and_hash_are_verified(folder):
    right = hashlib.sha256(CONTENT).hexdigest()
    fetch = checks(folder).fetch
    assert fetch("a b.jpg", size=len(CONTENT), sha256=right) == CONTENT
    assert reason(lambda: fetch("a b.jpg", sha256="0" * 64)) == "claim_check_mismatch"
    assert reason(lambda: fetch("a b.jpg", size=3)) == "claim_check_mismatch"


def test_too_many_bytes_are_not_read(folder):
    small = checks(folder, max_bytes=5)
    assert reason(lambda: small.fetch("a b.jpg")) == "too_large"
    assert reason(lambda: small.fetch("a b.jpg", size=6)) == "too_large"


class _Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
            return
        if self.path == "/gone.jpg":
            self.send_error(404)
            return
        self.send_response(200)
        if self.path != "/endless.jpg":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT * (1 if self.path != "/endless.jpg" else 1_000))

    def log_message(self, *_: object) -> None:
        pass


class _NoTls:
    """Stands in for TLS: the socket as it is. The name to be verified is kept for a look."""

    names: ClassVar[list[str]] = []

    def wrap_socket(self, plain: socket.socket, server_hostname: str) -> socket.socket:
        self.names.append(server_hostname)
        return plain


@pytest.fixture(scope="module")
def site() -> Iterator[int]:
    """A web server on this machine; gives its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def web(site: int, *, public: bool = True, **settings: object) -> ClaimChecks:
    allowed = ImageSettings.model_validate({"allowed_hosts": [f"images.test:{site}"], **settings})
    anywhere = (lambda _: True) if public else None
    return ClaimChecks(allowed, lambda *_: ["127.0.0.1"], anywhere, cast("ssl.SSLContext", _NoTls()))


def test_certificates_are_verified_for_the_name_not_the_address(site):
    web(site).fetch(f"https://images.test:{site}/a.jpg")
    assert set(_NoTls.names) == {"images.test"}
    assert ssl.create_default_context().check_hostname


def test_a_server_without_a_good_certificate_is_unreachable(site):
    allowed = ImageSettings(allowed_hosts=(f"images.test:{site}",))
    strict = ClaimChecks(allowed, lambda *_: ["127.0.0.1"], lambda _: True)
    fetch = lambda: strict.fetch(f"https://images.test:{site}/a.jpg")  # noqa: E731
    assert reason(fetch, TransientError) == "claim_check_unreachable"


def test_an_allowed_host_is_fetched_from(site):
    assert web(site).fetch(f"https://images.test:{site}/a.jpg") == CONTENT


def test_private_addresses_are_refused_even_behind_an_allowed_name(site):
    fetch = lambda: web(site, public=False).fetch(f"https://images.test:{site}/a.jpg")  # noqa: E731
    assert reason(fetch) == "claim_check_refused"


@pytest.mark.parametrize(
    "address",
    ["https://other.test/a.jpg", "https://images.test/a.jpg", "https://me:pw@images.test:{0}/a.jpg",
     "https://images.test:{0}/to/https://other.test/a.jpg", "https://images.test:{0}/to/http://images.test/a.jpg",
     "https://images.test:{0}/to/file:///etc/passwd", "https://127.0.0.1:{0}/a.jpg"],
)  # fmt: skip
def test_other_hosts_and_ways_out_are_refused(site, address):
    assert reason(lambda: web(site).fetch(address.format(site))) == "claim_check_refused"


def test_a_redirect_to_an_allowed_host_is_followed(site):
    assert web(site).fetch(f"https://images.test:{site}/to/https://images.test:{site}/a.jpg") == CONTENT


def test_redirects_end_somewhere(site):
    loop = f"https://images.test:{site}" + f"/to/https://images.test:{site}" * 9 + "/a.jpg"
    assert reason(lambda: web(site).fetch(loop)) == "claim_check_refused"


def test_what_can_not_be_fetched_may_work_later(site):
    fetch = lambda: web(site).fetch(f"https://images.test:{site}/gone.jpg")  # noqa: E731
    assert reason(fetch, TransientError) == "claim_check_unreachable"


def test_a_body_without_end_is_cut_off(site):
    fetch = lambda: web(site, max_bytes=100).fetch(f"https://images.test:{site}/endless.jpg")  # noqa: E731
    assert reason(fetch) == "too_large"


def test_a_silent_server_costs_no_more_than_the_time_limit():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        settings = ImageSettings(allowed_hosts=(f"images.test:{port}",), fetch_timeout_s=0.1)
        waiting = ClaimChecks(settings, lambda *_: ["127.0.0.1"], lambda _: True)
        fetch = lambda: waiting.fetch(f"https://images.test:{port}/a.jpg")  # noqa: E731
        assert reason(fetch, TransientError) == "claim_check_unreachable"
