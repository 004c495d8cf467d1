"""A TCP proxy between workers and broker that can be slow, silent or broken, in a thread of its own."""

import asyncio
import contextlib
import threading
from collections.abc import Callable

import uvloop

CHUNK_BYTES = 256 * 1024


class Proxy:
    """Passes bytes on, both ways, as it is told. Its methods may be called from any thread.

    Args:
        target_port: where the broker listens, on loopback; set before the first connection comes.
    """

    def __init__(self, target_port: int = 0) -> None:
        self.target_port = target_port
        self.port = 0
        self.delay_s = 0.0
        """Each chunk waits this long, in both directions: a round trip takes twice that."""
        self._open = threading.Event()
        self._open.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._ready.wait(10)

    def stop(self) -> None:
        self._call(self._loop.stop)
        self._thread.join(5)

    def cut(self) -> None:
        """Break all connections that are open; new ones are welcome."""
        self._call(self._cut)

    def silence(self) -> None:
        """Pass nothing on, in either direction, and break nothing."""
        self._open.clear()

    def speak(self) -> None:
        """Pass on again, what was held back first."""
        self._open.set()

    def _call(self, what: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(what)

    def _cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", self.port))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:  # the broker is down: the client shall notice
            self._writers.discard(writer)
            writer.transport.abort()
            return
        self._writers.add(back)
        ways = (self._pass(reader, back), self._pass(there, writer))
        for way in ways:
            task = self._loop.create_task(way)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read ahead while chunks wait, so that latency costs no throughput."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=64)
        sender = self._loop.create_task(self._send(waiting, writer))
        try:
            while data := await reader.read(CHUNK_BYTES):
                await waiting.put((self._loop.time() + self.delay_s, data))
            await waiting.put((self._loop.time(), b""))
            await sender
        except (OSError, RuntimeError):  # uvloop's word for a connection that was cut meanwhile
            pass
        finally:
            sender.cancel()
            self._writers.discard(writer)
            writer.transport.abort()

    async def _send(self, waiting: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            while True:
                due, data = await waiting.get()
                while (left := due - self._loop.time()) > 0 or not self._open.is_set():  # noqa: ASYNC110
                    await asyncio.sleep(max(0.02, min(left, 0.2)))
                if not data:
                    return
                writer.write(data)
                await writer.drain()
