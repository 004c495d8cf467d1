"""The app: the pages it serves; its exit statuses are tested on real processes in tests/broker."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from config import Settings, load_settings
from stream.app import FeedsightApp, create_app, lane_spec


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def settings(port: int = 0, **sections) -> Settings:
    return load_settings(None, {"metrics": {"port": port}, **sections}, {})


async def page(port: int, path: str) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of one page; plain sockets, as Prometheus has no aiohttp either."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    status, *lines = head.split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, body


@pytest_asyncio.fixture
async def served() -> AsyncIterator[tuple[FeedsightApp, int]]:
    """A real app without lanes, that needs no broker, and its port."""
    port = free_port()
    app = create_app(settings(port), {})
    await app.start()
    yield app, port
    await app.stop()


async def test_prometheus_gets_a_page_that_it_can_read(served):
    _, port = served
    status, headers, body = await page(port, "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    assert "charset=utf-8" in headers["content-type"]
    names = {family.name for family in text_string_to_metric_families(body)}
    assert {"feedsight_results", "feedsight_lag", "feedsight_latency_seconds"} <= names


async def test_a_healthy_process_says_so(served):
    _, port = served
    status, _, body = await page(port, "/health")
    assert (status, body) == (200, "{}")


class Failed:
    """A lane that could not go on."""

    spec = lane_spec("text", settings())
    state = "failed"


async def test_a_failed_lane_makes_the_health_page_answer_503(served):
    app, port = served
    app.lanes.append(Failed())
    status, _, body = await page(port, "/health")
    app.lanes.clear()
    assert status == 503
    assert '"failed"' in body
