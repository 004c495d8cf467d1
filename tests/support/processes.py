"""Real worker processes, to be killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from config import Settings


class WorkerProcess:
    """`feedsight worker …` as a child process, its log in a file.

    Args:
        arguments: after `feedsight worker`.
        settings: its brokers, group and prefix are passed on.
        log: where stderr goes.
    """

    def __init__(self, arguments: Sequence[str], settings: Settings, log: Path) -> None:
        self._log = log
        command = [
            *(sys.executable, "-c", "from cli.main import main; main()", "worker", *arguments),
            *("--kafka", settings.kafka.bootstrap, "--group", settings.kafka.group),
            *("--prefix", settings.topics.prefix, "--metrics-port", "0"),
        ]
        # The dead are noticed after the session's timeout; tests need not wait half a minute for that.
        timeout_ms = str(settings.kafka.session_timeout_ms)
        environment = {**os.environ, "FEEDSIGHT_KAFKA__SESSION_TIMEOUT_MS": timeout_ms}
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=environment
            )

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL: nothing is drained, nothing is said."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def terminate(self, timeout_s: float = 60.0) -> int:
        """SIGTERM; give the exit status."""
        self._process.terminate()
        return self._process.wait(timeout_s)

    def alive(self) -> bool:
        return self._process.poll() is None

    def wait(self, timeout_s: float = 60.0) -> int:
        return self._process.wait(timeout_s)

    def close(self) -> None:
        """For the test's end."""
        if self.alive():
            self.thaw()
            self.kill()
