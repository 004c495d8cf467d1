"""Runs a worker off the event loop, and finds the one message that makes a batch fail."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from workers.base import Worker
from workers.errors import FatalError, MessageError, PipelineError, TransientError

logger = logging.getLogger(__name__)

MAX_CONSECUTIVE_FAILURES: Final = 100
"""Messages failing one after the other, before it is the model's fault: stop, commit nothing."""

FIRST_BACKOFF_S: Final = 0.5


class Inference:
    """One thread prepares the next batch while another works on the present one.

    Args:
        worker: prepares and runs batches.
        retries: attempts after a TransientError, before a batch's messages are dead-lettered.
        sleep: waits between attempts; injected by tests.
    """

    def __init__(
        self,
        worker: Worker[Any, Any, Any],
        *,
        retries: int = 3,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._worker = worker
        self._retries = retries
        self._sleep = sleep
        self._prepare_thread = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        self._model_thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._failures = 0

    async def load(self) -> None:
        """Load and warm the model.

        Raises:
            FatalError: it can't be used.
        """
        await self._in(self._model_thread, self._worker.load)

    async def prepare(self, messages: Sequence[Any]) -> Sequence[Any] | None:
        """Tokenise or decode; None where that failed as a whole and `run` has to find out why."""
        if not messages:
            return ()
        try:
            prepared: Sequence[Any] = await self._in(self._prepare_thread, self._worker.prepare, messages)
            return prepared
        except FatalError:
            raise
        except Exception:
            logger.exception("preparing a batch of %d failed", len(messages))
            return None

    async def run(self, messages: Sequence[Any], prepared: Sequence[Any] | None) -> list[Any | PipelineError]:
        """Infer on a batch; same length and order as the input.

        Raises:
            FatalError: the worker can't go on, or fails on everything.
        """
        outcomes = await self._once(messages, prepared)
        for attempt in range(self._retries):
            late = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, TransientError)]
            if not late:
                break
            logger.warning("%d of %d may work later: %s", len(late), len(messages), outcomes[late[0]])
            await self._sleep(FIRST_BACKOFF_S * 2**attempt)
            again = await self._once([messages[n] for n in late], None)
            for n, outcome in zip(late, again, strict=True):
                outcomes[n] = outcome
        return outcomes

    def close(self) -> None:
        """Let the threads end; one that hangs in native code is left to the watchdog."""
        self._prepare_thread.shutdown(wait=False, cancel_futures=True)
        self._model_thread.shutdown(wait=False, cancel_futures=True)

    @staticmethod
    async def _in(thread: ThreadPoolExecutor, call: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(thread, call, *arguments)

    def _attempt(self, messages: Sequence[Any], prepared: Sequence[Any] | None) -> list[Any]:
        if prepared is None:
            prepared = self._worker.prepare(messages)
        outcomes = list(self._worker.run(prepared))
        if len(outcomes) != len(messages):
            raise ValueError(f"{len(outcomes)} results for {len(messages)} messages")
        return outcomes

    async def _once(self, messages: Sequence[Any], prepared: Sequence[Any] | None) -> list[Any]:
        """Infer once; what went wrong comes back in its place, unless it is fatal."""
        if not messages:
            return []
        try:
            outcomes: list[Any] = await self._in(self._model_thread, self._attempt, messages, prepared)
        except FatalError:
            raise
        except TransientError as error:
            return [error] * len(messages)
        except Exception as error:
            return await self._split(messages, error)
        self._failures = 0
        return outcomes

    async def _split(self, messages: Sequence[Any], error: Exception) -> list[Any]:
        """Halve the batch until the message that fails stands alone; the others get their results."""
        if len(messages) > 1:
            half = len(messages) // 2
            first = await self._once(messages[:half], None)
            return first + await self._once(messages[half:], None)
        logger.error("the model failed on one message", exc_info=error)
        self._failures += 1
        if self._failures > MAX_CONSECUTIVE_FAILURES:
            raise FatalError(
                f"the model failed on {self._failures} messages in a row", reason="model_failed"
            ) from error
        failure = MessageError(f"the model failed: {type(error).__name__}", reason="model_failed")
        failure.__cause__ = error
        return [failure]
