"""Real workers as child processes."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cli.showcase.story import LaneName
from config import KafkaSettings
from workers.errors import FatalError

STOP_TIMEOUT_S: Final = 10.0
"""After SIGTERM a worker drains; what is left after this long is killed."""

_ESCAPES: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""Terminal control sequences, which some libraries write even into a file."""

_COMMAND: Final = """\
import sys
if sys.platform == "linux":  # die with the demonstration, however it ends (PR_SET_PDEATHSIG)
    import ctypes, signal
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
from cli.main import main
main()
"""


@dataclass
class WorkerProcess:
    """A worker and where it can be asked how it does.

    Attributes:
        lane: `text` or `image`.
        arguments: of `feedsight worker`.
        environ: its environment.
        log: where its stderr goes.
    """

    lane: LaneName
    arguments: Sequence[str]
    environ: Mapping[str, str]
    log: Path
    port: int = field(default_factory=lambda: free_port())
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    _process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it; it is ready when `poll` says so."""
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                _COMMAND,
                "worker",
                self.lane,
                *self.arguments,
                "--metrics-port",
                str(self.port),
                env=dict(self.environ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is ours to answer; the worker then gets its SIGTERM
            )

    async def poll(self) -> bool:
        """Ask whether it consumes.

        Raises:
            FatalError: it has ended.
        """
        if self._process is not None and self._process.returncode is not None:
            status = f"status {self._process.returncode}"
            last = self.last_line()
            detail = f"{last} ({status})" if last else status
            raise FatalError(f"the {self.lane} worker has ended: {detail}", reason="unexpected")
        if not self.ready.is_set() and await _health(self.port) == 200:
            self.ready.set()
        return self.ready.is_set()

    def last_line(self) -> str:
        """Give the last line of its log that says something."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        lines = [line.strip() for line in _ESCAPES.sub("", text).splitlines() if line.strip()]
        return lines[-1] if lines else ""

    async def stop(self) -> None:
        """Let it drain, then end it."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            await process.wait()


def free_port() -> int:
    """Find a port on loopback that nothing listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def worker_environ(
    environ: Mapping[str, str], kafka: KafkaSettings, *, keep_settings: bool
) -> dict[str, str]:
    """Give a worker's environment.

    Args:
        environ: ours.
        kafka: what the embedded broker asks of its clients.
        keep_settings: on the user's own Kafka their settings (TLS, passwords) count; on the embedded broker a
            stray one must not break the demonstration.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = str(max(1, cores // 2))  # two workers share the machine
    kept = {
        name: value
        for name, value in environ.items()
        if keep_settings or not name.upper().startswith("FEEDSIGHT_") or name.upper() == "FEEDSIGHT_CACHE"
    }
    chosen = {"FEEDSIGHT_TEXT__THREADS": threads, "FEEDSIGHT_IMAGE__THREADS": threads}
    if not keep_settings:
        chosen["FEEDSIGHT_KAFKA__CHECK_CRCS"] = str(kafka.check_crcs)
        chosen["FEEDSIGHT_KAFKA__FETCH_MAX_WAIT_MS"] = str(kafka.fetch_max_wait_ms)
    return {**chosen, **kept}


async def _health(port: int) -> int:
    """Ask `/health`; 0 where nothing answers."""
    try:
        async with asyncio.timeout(1.0):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /health HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
            await writer.drain()
            status = await reader.readline()
            writer.close()
            await writer.wait_closed()
    except (OSError, TimeoutError):
        return 0
    parts = status.split()
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0
