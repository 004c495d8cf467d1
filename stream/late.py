"""Hands outcomes to the deliveries; what may work later is tried again beside the next batches."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from stream.delivery import PartitionDelivery
from stream.inference import Inference
from stream.records import Item
from workers.errors import PipelineError, TransientError

logger = logging.getLogger(__name__)

MAX_LATE_GROUPS: Final = 4
"""Messages that may work later, each batch's together, that are tried again beside the next batches. With
more of them the next batch waits."""


class Outcomes:
    """Hands outcomes to the deliveries. A session owns it.

    A message that may work later, such as a claim check that can't be reached now, holds back only what
    follows in its partition, for answers go out in the order of their offsets.

    Args:
        inference: tries again.
        failed: told of an error that ends the session.
    """

    def __init__(self, inference: Inference, failed: Callable[[BaseException], None]) -> None:
        self._inference = inference
        self._failed = failed
        self._late: set[asyncio.Task[None]] = set()

    def give(self, batch: Sequence[Item], outcomes: Sequence[Any]) -> None:
        """Answer a batch.

        Args:
            batch: in the order of offsets.
            outcomes: of those items whose message is no error.
        """
        left = iter(outcomes)
        late: list[Item] = []
        answered: dict[PartitionDelivery, list[Item]] = {}
        for item in batch:
            message = item.message
            item.outcome = outcome = message if isinstance(message, PipelineError) else next(left)
            if isinstance(outcome, TransientError) and outcome is not message:
                late.append(item)
            if item.delivery in answered:
                answered[item.delivery].append(item)
            else:
                answered[item.delivery] = [item]
        if late and self._inference.retries:
            self._try_again(late)
        for delivery, ready in answered.items():
            if not delivery.closed:
                delivery.answer(ready)

    async def room(self) -> None:
        """Wait until fewer than the limit are being tried again."""
        while len(self._late) >= MAX_LATE_GROUPS:
            await asyncio.wait(self._late, return_when=asyncio.FIRST_COMPLETED)

    async def close(self) -> None:
        """Give up what is being tried again."""
        late = list(self._late)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def _try_again(self, late: list[Item]) -> None:
        logger.warning("%d messages may work later: %s", len(late), late[0].outcome)
        for item in late:
            item.outcome = None
        task = asyncio.create_task(self._retry(late))
        self._late.add(task)
        task.add_done_callback(self._ended)

    async def _retry(self, late: list[Item]) -> None:
        outcomes = await self._inference.retry([item.message for item in late])
        for item, outcome in zip(late, outcomes, strict=True):
            item.outcome = outcome
            item.delivery.wake()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._late.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)
