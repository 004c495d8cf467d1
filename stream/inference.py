"""Runs a worker off the event loop, and finds the one message that makes a batch fail.

A batch fails when the model raises, gives another number of results than there were messages, or gives
something that is no result, such as a probability that is not a number. Then it is halved until the message
whose fault it is stands alone: that one fails, its neighbours get their results.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from stream.soundness import Flaw
from workers.base import Worker
from workers.errors import FatalError, MessageError, PipelineError, TransientError

logger = logging.getLogger(__name__)

MAX_CONSECUTIVE_FAILURES: Final = 100
"""Messages failing one after the other, before it is the model's fault: stop, commit nothing."""

FIRST_BACKOFF_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class _Raised:
    """What a call in a thread raised.

    As a value it reaches us whatever it is: a StopIteration could not be set on a future, and a
    CancelledError would look like our own.
    """

    error: BaseException


class Inference:
    """One thread prepares the next batch while another works on the present one.

    Args:
        worker: prepares and runs batches.
        retries: attempts after a TransientError, before messages are dead-lettered.
        timeout_s: what the model may take for one batch; no limit where it is None. A thread can't be
            stopped, so after it the process has to end: started again, it finds the message (see
            stream/quarantine.py).
        flaw: says what is wrong with an outcome; None takes every outcome.
        sleep: waits between attempts; injected by tests.
    """

    def __init__(
        self,
        worker: Worker[Any, Any, Any],
        *,
        retries: int = 3,
        timeout_s: float | None = None,
        flaw: Flaw | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.stuck = False
        """Whether the model did not come back in time: its thread is lost, and so is the process."""
        self._worker = worker
        self._retries = retries
        self._timeout_s = timeout_s
        self._flaw = flaw
        self._sleep = sleep
        self._prepare_thread = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        self._model_thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._failures = 0

    async def load(self) -> None:
        """Load and warm the model.

        Raises:
            FatalError: it can't be used.
        """
        await _raised_again(self._model_thread, self._worker.load)

    async def prepare(self, messages: Sequence[Any]) -> Sequence[Any] | None:
        """Tokenise or decode; None where that failed as a whole and `run` has to find out why."""
        if not messages:
            return ()
        prepared = await _in(self._prepare_thread, self._worker.prepare, messages)
        if isinstance(prepared, _Raised):
            if isinstance(prepared.error, FatalError):
                raise prepared.error
            logger.error("preparing a batch of %d failed", len(messages), exc_info=prepared.error)
            return None
        if not isinstance(prepared, Sequence) or len(prepared) != len(messages):
            logger.error("preparing a batch of %d gave something else", len(messages))
            return None
        return prepared

    async def run(self, messages: Sequence[Any], prepared: Sequence[Any] | None) -> list[Any | PipelineError]:
        """Infer on a batch; same length and order as the input.

        A batch that may work later as a whole is waited for here: what comes after it would fare no better.
        Single messages that may work later come back as TransientError; `retry` tries those again.

        Raises:
            FatalError: the worker can't go on, fails on everything, or did not come back in time.
        """
        outcomes = await self._once(messages, prepared)
        for attempt in range(self._retries):
            if not isinstance(outcomes, TransientError):
                break
            logger.warning("a batch of %d may work later: %s", len(messages), outcomes)
            await self._sleep(FIRST_BACKOFF_S * 2**attempt)
            outcomes = await self._once(messages, None)
        if isinstance(outcomes, TransientError):
            return [_given_up(outcomes)] * len(messages)
        return outcomes

    async def retry(self, messages: Sequence[Any]) -> list[Any | PipelineError]:
        """Try messages again that came back as TransientError, after growing waits.

        Other batches may run in between.

        Returns:
            Their outcomes, same length and order; what still may work later is given up.

        Raises:
            FatalError: as in `run`.
        """
        outcomes: list[Any] = [TransientError("not tried")] * len(messages)
        for attempt in range(self._retries):
            late = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, TransientError)]
            if not late:
                break
            await self._sleep(FIRST_BACKOFF_S * 2**attempt)
            again = [messages[n] for n in late]
            found = await self._once(again, await self.prepare(again))
            for place, n in enumerate(late):
                outcomes[n] = found if isinstance(found, TransientError) else found[place]
        return [_given_up(one) if isinstance(one, TransientError) else one for one in outcomes]

    @property
    def retries(self) -> int:
        """Attempts after a TransientError."""
        return self._retries

    def close(self) -> None:
        """Let the threads end; one that hangs in native code is left to the watchdog."""
        self._prepare_thread.shutdown(wait=False, cancel_futures=True)
        self._model_thread.shutdown(wait=False, cancel_futures=True)

    async def _once(
        self, messages: Sequence[Any], prepared: Sequence[Any] | None
    ) -> list[Any] | TransientError:
        """Infer once; what went wrong comes back in its place, unless it is fatal."""
        if not messages:
            return []
        if prepared is None:
            prepared = await _in(self._prepare_thread, self._worker.prepare, messages)
        if not isinstance(prepared, _Raised):
            outcomes = await self._in_time(prepared, len(messages))
        else:
            outcomes = prepared
        if isinstance(outcomes, _Raised):
            error = outcomes.error
            if isinstance(error, FatalError):
                raise error
            if isinstance(error, TransientError):
                return error
            return await self._split(messages, error)
        return await self._sound(messages, outcomes)

    async def _in_time(self, prepared: Sequence[Any], count: int) -> Any:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await _in(self._model_thread, self._attempt, prepared, count)
        except TimeoutError:
            self.stuck = True
            raise FatalError(
                f"the model has not answered a batch of {count} within {self._timeout_s:g} s",
                reason="timeout",
            ) from None

    def _attempt(self, prepared: Sequence[Any], count: int) -> list[Any]:
        outcomes = list(self._worker.run(prepared))
        if len(outcomes) != count:
            raise ValueError(f"{len(outcomes)} results for {count} messages")
        return outcomes

    async def _sound(self, messages: Sequence[Any], outcomes: list[Any]) -> list[Any]:
        """Put another try, or an error, where a result is none."""
        flaw = self._flaw
        flaws = [] if flaw is None else [(n, said) for n, one in enumerate(outcomes) if (said := flaw(one))]
        if not flaws:
            self._failures = 0
            return outcomes
        # One message may spoil the numbers of the whole batch: the flawed ones are looked at by themselves.
        again = await self._split([messages[n] for n, _ in flaws], ValueError(flaws[0][1]), of=len(messages))
        for (n, _), outcome in zip(flaws, again, strict=True):
            outcomes[n] = outcome
        return outcomes

    async def _split(self, messages: Sequence[Any], error: BaseException, of: int | None = None) -> list[Any]:
        """Halve the batch until the message that fails stands alone; the others get their results.

        Args:
            messages: which of them fail is to be found.
            error: how they failed together.
            of: messages in the batch that failed; where that was more than these, they are tried again as
                they are.
        """
        if of is not None and of > len(messages):
            return await self._part(messages)
        if len(messages) > 1:
            half = len(messages) // 2
            return [*await self._part(messages[:half]), *await self._part(messages[half:])]
        logger.error("the model failed on one message", exc_info=error)
        self._failures += 1
        if self._failures > MAX_CONSECUTIVE_FAILURES:
            raise FatalError(
                f"the model failed on {self._failures} messages in a row", reason="model_failed"
            ) from error
        said = str(error) if isinstance(error, ValueError) and of is not None else type(error).__name__
        failure = MessageError(f"the model failed: {said}", reason="model_failed")
        failure.__cause__ = error
        return [failure]

    async def _part(self, messages: Sequence[Any]) -> list[Any]:
        """Infer on a part of a batch; a transient error is everyone's own, to be tried again."""
        found = await self._once(messages, None)
        return [found] * len(messages) if isinstance(found, TransientError) else found


def _given_up(error: TransientError) -> MessageError:
    failure = MessageError(error.detail, reason=error.reason)
    failure.__cause__ = error
    return failure


async def _in(thread: ThreadPoolExecutor, call: Callable[..., Any], *arguments: Any) -> Any:
    """Call in a thread; what it raises comes back as a value."""

    def caught() -> Any:
        try:
            return call(*arguments)
        except BaseException as error:  # library code in a thread of ours: nothing may escape
            return _Raised(error)

    return await asyncio.get_running_loop().run_in_executor(thread, caught)


async def _raised_again(thread: ThreadPoolExecutor, call: Callable[..., Any]) -> Any:
    found = await _in(thread, call)
    if isinstance(found, _Raised):
        raise found.error
    return found
