"""A manifest that comes over standard input, read ahead in a thread so that results flow while it is open."""

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from workers.image.manifest import BadLine, Entry, manifest_entries

WAITING_LINES: Final = 1_024
"""Lines read ahead: many batches, and little to hold, since images are read later."""


def live_entries(lines: BinaryIO) -> Iterator[Entry | BadLine | None]:
    """Give entries as they come, and None whenever nothing more has come yet.

    Args:
        lines: the manifest; relative paths start from the working folder.

    Raises:
        OSError: it can't be read.
    """
    waiting: queue.Queue[Entry | BadLine | OSError | None] = queue.Queue(WAITING_LINES)

    def read() -> None:
        try:
            for entry in manifest_entries(lines, Path()):
                waiting.put(entry)
            waiting.put(None)
        except OSError as error:
            waiting.put(error)

    threading.Thread(target=read, name="read manifest", daemon=True).start()
    while True:
        if waiting.empty():
            yield None
        found = waiting.get()
        if found is None:
            return
        if isinstance(found, OSError):
            raise found
        yield found
