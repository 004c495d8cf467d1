"""A real Kafka on loopback, started from a distribution's folder, for tests and benchmarks.

Needs Java 17 and the variable FEEDSIGHT_KAFKA_HOME (a folder with libs/), or a folder `shared/kafka` beside
the checkout.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

START_TIMEOUT_S: Final = 60.0
CLUSTER_ID: Final = "4L6g3nShT-eMCtK--X86sw"

PROPERTIES: Final = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT",
    "num.partitions": "4",
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "log.cleaner.dedupe.buffer.size": "8388608",
    "auto.create.topics.enable": "true",
}

JVM: Final = ("-Xms512m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")

LOG4J: Final = """rootLogger.level=warn
rootLogger.appenderRef.stdout.ref=STDOUT
appender.stdout.type=Console
appender.stdout.name=STDOUT
appender.stdout.layout.type=PatternLayout
appender.stdout.layout.pattern=[%d] %p %m (%c)%n
"""


def find_kafka_home(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Find a Kafka distribution; None where there is none, or no Java."""
    if shutil.which("java") is None:
        return None
    beside = Path(__file__).resolve().parents[2] / "shared" / "kafka"
    named = environ.get("FEEDSIGHT_KAFKA_HOME")
    for home in ([Path(named)] if named else []) + [beside]:
        if any(home.glob("libs/kafka_*.jar")):
            return home
    return None


class LocalKafka:
    """One broker and controller in one JVM, its data in one folder.

    Args:
        home: the distribution's folder, with libs/.
        folder: for data, settings and logs; a folder used before is taken up again.
        properties: further lines of server.properties.
        proxy_port: where a proxy listens, if there is one: clients that come to `behind_proxy_port` are told
            to find the broker there.
    """

    def __init__(
        self,
        home: Path,
        folder: Path,
        properties: Mapping[str, str] | None = None,
        *,
        proxy_port: int | None = None,
    ) -> None:
        self._home = home
        self._folder = folder
        self._properties = dict(properties or {})
        self._port, self._controller_port, self.behind_proxy_port = _free_ports(3)
        self._proxy_port = proxy_port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """HOST:PORT for clients."""
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        """Format the folder if it is new, start, and wait until the broker answers.

        Raises:
            RuntimeError: it does not start; the end of its log is in the message.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._write_settings()
        settings = str(self._folder / "server.properties")
        if not (self._folder / "data" / "meta.properties").exists():
            self._java("-Xmx256m", "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", settings)
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command line
                self._command(*JVM, "kafka.Kafka", settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_until_up()

    def stop(self) -> None:
        """Shut down in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Crash it; `start` brings the data back."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze it."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _write_settings(self) -> None:
        listeners = f"PLAINTEXT://127.0.0.1:{self._port},CONTROLLER://127.0.0.1:{self._controller_port}"
        advertised = f"PLAINTEXT://127.0.0.1:{self._port}"
        if self._proxy_port is not None:
            listeners += f",PROXIED://127.0.0.1:{self.behind_proxy_port}"
            advertised += f",PROXIED://127.0.0.1:{self._proxy_port}"
        properties = {
            **PROPERTIES,
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "listeners": listeners,
            "advertised.listeners": advertised,
            "log.dirs": str(self._folder / "data"),
            **self._properties,
        }
        lines = "".join(f"{name}={value}\n" for name, value in properties.items())
        (self._folder / "server.properties").write_text(lines)
        (self._folder / "log4j2.properties").write_text(LOG4J)

    def _command(self, *arguments: str) -> list[str]:
        return [
            shutil.which("java") or "java",
            "-cp",
            f"{self._home / 'libs'}/*",
            f"-Dlog4j2.configurationFile={self._folder / 'log4j2.properties'}",
            f"-Dkafka.logs.dir={self._folder}",
            *arguments,
        ]

    def _java(self, *arguments: str) -> None:
        command = self._command(*arguments)
        done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - ours
        if done.returncode:
            raise RuntimeError(f"Kafka's folder can't be formatted: {done.stderr[-2_000:].decode()}")

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.1)
        log = (self._folder / "server.log").read_text(errors="replace")
        raise RuntimeError(f"Kafka did not start: {log[-2_000:]}")

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._signal(signal.SIGCONT)
        self._signal(how)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _signal(self, how: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)


def _free_ports(count: int) -> list[int]:
    """Find ports that are free now; all are held until all are found."""
    holders = [socket.socket() for _ in range(count)]
    try:
        for holder in holders:
            holder.bind(("127.0.0.1", 0))
        return [holder.getsockname()[1] for holder in holders]
    finally:
        for holder in holders:
            holder.close()
