"""Runs a Faust app as this process, from the first look at the broker to the exit status."""

import asyncio
import faulthandler
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import faust
import uvloop

from config import MetricsSettings, Settings
from stream.connection import refusal

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
"""It could not go on; an orchestrator should start it again."""
EXIT_USAGE: Final = 2
"""Settings, labels or references are wrong; starting again won't help."""


class Ended(NamedTuple):
    """How an app ended.

    Attributes:
        status: for the process to exit with.
        app: the app; None where the broker refused and none was made.
        error: what it ended with, where that was an error.
    """

    status: int
    app: Any = None
    error: Exception | None = None


def port_taken(metrics: MetricsSettings) -> str | None:
    """Say that another process has the port of /metrics and /health; None where it is free or not wanted."""
    if not metrics.port:
        return None
    family = socket.AF_INET6 if ":" in metrics.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((metrics.host, metrics.port))
        except OSError as error:
            where = f"{metrics.host}:{metrics.port}"
            return f"no /metrics at {where}: {error.strerror}; choose another --metrics-port (0: off)"
    return None


def run_app(
    settings: Settings, topics: Sequence[str], create: Callable[[], faust.App], *, exit_limit_s: float
) -> Ended:
    """Run an app until SIGTERM, SIGINT or an error that it can't go on after.

    Args:
        settings: how to reach the brokers.
        topics: that must be readable.
        create: makes the app, within the process's event loop.
        exit_limit_s: for the interpreter to end once the app has; a thread that hangs is not waited for.
    """
    if (taken := port_taken(settings.metrics)) is not None:
        sys.stderr.write(f"feedsight: {taken}\n")
        return Ended(EXIT_USAGE)
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    if (refused := loop.run_until_complete(refusal(settings.kafka, topics))) is not None:
        sys.stderr.write(f"feedsight: {refused.detail}\n")
        return Ended(EXIT_USAGE)
    app = create()
    process = faust.Worker(
        app, loop=loop, loglevel="WARNING", redirect_stdouts=False, quiet=True, override_logging=False
    )
    process.spinner = None  # it would write cursor escapes into logs
    status, error = EXIT_OK, None
    try:
        process.execute_from_commandline()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else EXIT_FAILED
    except Exception as found:
        status, error = EXIT_FAILED, found
    faulthandler.dump_traceback_later(exit_limit_s, exit=True)
    return Ended(status, app, error)
