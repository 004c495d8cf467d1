"""From a reference to what a mode keeps of it: fetched, decoded, described, a few at a time.

All of it runs beside matching, which goes first: at the model (`workers.image.models.turns`), and for all but
the model at the processor.
"""

import hashlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from typing import Final

from schemas import Reference
from workers.errors import FatalError, MessageError, PipelineError, TransientError
from workers.image.claim_check import ClaimChecks, verify
from workers.image.decode import Decoder
from workers.image.live_gallery import Entry
from workers.image.membership import member_digest
from workers.image.models.turns import let_others_first
from workers.image.modes.base import DecodedImage, Mode

STEP: Final = 4
"""References described at a time."""
AHEAD: Final = 4
"""Steps under way: threads of lower priority often wait for a core, for which the model should not wait."""
WAITS_S: Final = (0.2, 1.0)
"""Before a reference that could not be fetched is tried again."""
LESS_IMPORTANT: Final = 10
"""Niceness of threads that work on references."""

Known = Callable[[str], object | None]
"""Gives what was described before for content of a hash."""
Prepared = Entry | tuple[Reference, PipelineError]
Found = tuple[Reference, DecodedImage | PipelineError | object]
"""A reference without its bytes, and its image, what is wrong with it, or what is known of it."""


def lower_priority() -> None:
    """Let the present thread have what others leave of the processor, where the system can do that."""
    if hasattr(os, "setpriority") and hasattr(threading, "get_native_id"):
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LESS_IMPORTANT)


class Enrolment:
    """Prepares references. One thread calls it at a time.

    Args:
        decoder: of the worker.
        claim_checks: how claim checks are redeemed.
        threads: that fetch and decode.
        sleep: waits before a second try.
    """

    def __init__(
        self,
        decoder: Decoder,
        claim_checks: ClaimChecks,
        threads: int,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._decoder = decoder
        self._claim_checks = claim_checks
        self._pool = ThreadPoolExecutor(threads, "enrol", initializer=lower_priority)
        # Not of lower priority: while it has its turn at the model matching waits for it, and the model's
        # threads have the priority of who used it first. So it is started here: a thread has the priority of
        # who starts it.
        self._describing = ThreadPoolExecutor(1, "describe", initializer=let_others_first)
        self._describing.submit(int).result()
        self._sleep = sleep

    def close(self) -> None:
        """Give the threads back."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._describing.shutdown(wait=False, cancel_futures=True)

    def prepare(self, mode: Mode, references: Sequence[Reference], known: Known) -> Iterator[Prepared]:
        """Prepare references, in order; what is wrong with one stands in its place.

        Args:
            mode: describes them; it is not changed.
            references: none of them `removed`.
            known: what needs not be fetched, decoded and described again.
        """
        rest = iter(references)
        ahead: deque[Future[list[Prepared]]] = deque()
        while True:
            while len(ahead) < AHEAD and (step := list(islice(rest, STEP))):
                ahead.append(self._started(mode, step, known))
            if not ahead or not threading.main_thread().is_alive():
                return  # where the process ends it would wait for this thread
            yield from ahead.popleft().result()

    def _started(self, mode: Mode, step: Sequence[Reference], known: Known) -> "Future[list[Prepared]]":
        """Have a step prepared: fetched and decoded beside the steps before it, described after them."""
        former = [known(r.sha256) if r.sha256 and r.content is None else None for r in step]
        if all(made is not None for made in former):  # nothing to fetch, to decode or to describe
            done: Future[list[Prepared]] = Future()
            kept = zip(step, former, strict=True)
            done.set_result([Entry(r, made, member_digest(r)) for r, made in kept])
            return done
        coming = [self._pool.submit(self._found, one, known) for one in step]
        return self._describing.submit(self._finished, mode, coming)

    def _finished(self, mode: Mode, coming: "Sequence[Future[Found]]") -> list[Prepared]:
        """Describe a step; runs in the thread that lets others go first at the model."""
        found = [one.result() for one in coming]
        images = [(ref, image) for ref, image in found if isinstance(image, DecodedImage)]
        described = iter(_described(mode, images) if images else ())
        made: list[Prepared] = []
        for reference, content in found:
            result = next(described) if isinstance(content, DecodedImage) else content
            if isinstance(result, PipelineError):
                made.append((reference, result))
            else:
                made.append(Entry(reference, result, member_digest(reference)))
        return made

    def _found(self, reference: Reference, known: Known) -> Found:
        """The reference without its bytes, with its hash, and what is known of it, or its image."""
        kept = _without_content(reference)
        try:
            if reference.content is None and reference.sha256 is not None:
                former = known(reference.sha256)
                if former is not None:
                    return kept, former
            content = self._content(reference)
            digest = reference.sha256 or hashlib.sha256(content).hexdigest()
            kept = kept.model_copy(update={"sha256": digest})
            former = known(digest)
            return kept, self._decoder.decode(content) if former is None else former
        except PipelineError as error:
            return kept, error

    def _content(self, reference: Reference) -> bytes:
        content = reference.content
        if (content is None) == (reference.dataref is None):
            raise MessageError("an image needs either its bytes or a dataref", reason="schema")
        if content is not None:
            verify(content, size=reference.size, sha256=reference.sha256)
            return content
        for wait_s in WAITS_S:
            try:
                return self._fetched(reference)
            except TransientError:
                self._sleep(wait_s)
        return self._fetched(reference)

    def _fetched(self, reference: Reference) -> bytes:
        dataref = reference.dataref or ""
        return self._claim_checks.fetch(dataref, size=reference.size, sha256=reference.sha256)


def _without_content(reference: Reference) -> Reference:
    return reference if reference.content is None else reference.model_copy(update={"content": None})


def _described(mode: Mode, images: Sequence[tuple[Reference, DecodedImage]]) -> list[object]:
    """What a mode makes of each image, or why it can't."""
    try:
        return list(mode.describe(images))
    except FatalError:
        raise
    except Exception as error:
        if len(images) == 1:
            failed = MessageError(f"the model failed: {type(error).__name__}", reason="model_failed")
            return [error if isinstance(error, MessageError) else failed]
        return [made for one in images for made in _described(mode, [one])]
