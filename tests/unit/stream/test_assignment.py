"""What a session waits for, it can always be called away from."""

import asyncio

import pytest

from stream.assignment import Assignment


def no_delivery(*_: object):
    raise AssertionError("no partition is assigned here")


async def test_a_cancellation_that_meets_progress_is_not_swallowed() -> None:
    """asyncio.wait_for does, on Python 3.11: the session would then never end."""
    assignment = Assignment(no_delivery)
    waiting = asyncio.create_task(assignment.wait_for_progress(60))
    await asyncio.sleep(0)
    assignment._progress.set()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
