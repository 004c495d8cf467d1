"""Control records that were read and wait for a worker that is busy with earlier ones."""

import asyncio
from collections.abc import Sequence
from typing import Final

from workers.base import Change

CHUNK: Final = 200
"""Changes handed over together at most."""
AHEAD_BYTES: Final = 64 * 2**20
"""Read ahead of what is applied; beyond it reading waits."""


class ReadAhead:
    """Changes that were read and wait to be applied: of each key the newest, in the order of the topic."""

    def __init__(self) -> None:
        self._waiting: dict[str, Change] = {}
        self._bytes = 0
        self._moved = asyncio.Condition()

    def add(self, changes: Sequence[Change]) -> list[Change]:
        """Take changes; those that remove come back, to be applied at once."""
        newest = {change.key: change for change in changes}
        for change in newest.values():
            former = self._waiting.pop(change.key, None)
            self._bytes -= len((former and former.value) or b"")
            if change.value is not None:
                self._waiting[change.key] = change
                self._bytes += len(change.value)
        return [change for change in newest.values() if change.value is None]

    async def room(self) -> None:
        """Wait until no more than AHEAD_BYTES wait."""
        async with self._moved:
            self._moved.notify_all()
            await self._moved.wait_for(lambda: self._bytes <= AHEAD_BYTES)

    async def take(self) -> list[Change]:
        """Wait for changes, and give the oldest, CHUNK at most."""
        async with self._moved:
            await self._moved.wait_for(lambda: bool(self._waiting))
            taken = [self._waiting.pop(key) for key in list(self._waiting)[:CHUNK]]
            self._bytes -= sum(len(change.value or b"") for change in taken)
            self._moved.notify_all()
            return taken
