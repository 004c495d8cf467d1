"""What is done for galleries once changes cease: learning from all members, and snapshots.

It runs in a thread of its own, at a lower priority than matching.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from workers.errors import PipelineError
from workers.image.enrolment import lower_priority
from workers.image.live_gallery import LiveGallery
from workers.image.shelf import Shelf

logger = logging.getLogger(__name__)

LEARN_AFTER_S: Final = 0.3
"""Without a change, before a gallery learns anew."""
LEARN_AT_LATEST_S: Final = 5.0
"""After the first change, however many follow."""
WRITE_AFTER_S: Final = 3.0
"""Without a change, before snapshots are written."""
WRITE_AT_LATEST_S: Final = 60.0


class Keeper:
    """Keeps galleries learnt and their snapshots up to date. Thread-safe.

    Args:
        galleries: gives those there are.
        shelf: where snapshots go, if anywhere.
        clock: tells seconds.
    """

    def __init__(
        self,
        galleries: Callable[[], Sequence[LiveGallery]],
        shelf: Shelf | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._galleries = galleries
        self._shelf = shelf
        self._clock = clock
        self._due = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._first = self._last = clock()

    def changed(self) -> None:
        """Say that a gallery has changed."""
        self._last = self._clock()
        if not self._due.is_set():
            self._first = self._last
            self._due.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
            self._thread.start()

    def learn(self) -> None:
        """Have all galleries learn what their members teach together."""
        for gallery in self._galleries():
            if gallery.pending:
                gallery.learn()

    def write(self) -> None:
        """Write the snapshots that are not up to date."""
        if self._shelf is not None:
            for gallery in self._galleries():
                self._shelf.put(gallery.name, gallery.current)

    def close(self) -> None:
        """Let the thread end."""
        self._closed.set()
        self._due.set()

    def _run(self) -> None:
        lower_priority()
        while not self._closed.is_set():
            self._due.wait()
            try:
                self._once()
            except Exception as error:
                # the galleries stay as they were, which is right but for what was to be learnt
                known = isinstance(error, PipelineError)
                logger.warning("a gallery could not learn anew: %s", error, exc_info=not known)
                self._due.clear()

    def _once(self) -> None:
        self._wait(LEARN_AFTER_S, LEARN_AT_LATEST_S)
        self.learn()
        if self._shelf is not None:
            self._wait(WRITE_AFTER_S, WRITE_AT_LATEST_S)
        if self._closed.is_set():
            return
        self._due.clear()
        self.learn()
        self.write()

    def _wait(self, quiet_s: float, most_s: float) -> None:
        """Wait until there was no change for a while, or so long since the first that it must be done."""
        while not self._closed.is_set():
            now = self._clock()
            left = min(self._last + quiet_s, self._first + most_s) - now
            crowded = any(gallery.current.mode.crowded for gallery in self._galleries())
            if left <= 0 or crowded:
                return
            self._closed.wait(min(left, 0.2))
