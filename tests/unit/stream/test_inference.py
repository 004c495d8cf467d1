"""Inference: which message gets what when a batch fails."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
import pytest_asyncio

from stream.inference import MAX_CONSECUTIVE_FAILURES, Inference
from workers.errors import FatalError, MessageError, PipelineError, TransientError

Act = Callable[[Sequence[str]], None]


class Doubler:
    """Answers `aa` for `a`; `act` may raise, in `prepare` or in `run`."""

    model = "doubler"
    version = "1"

    def __init__(self) -> None:
        self.on_prepare: Act = lambda batch: None
        self.on_run: Act = lambda batch: None
        self.extra: list[str] = []
        self.runs: list[list[str]] = []
        self.threads: set[str] = set()

    def load(self) -> None:
        return

    def cost(self, message: str) -> int:
        return 1

    def prepare(self, batch: Sequence[str]) -> Sequence[str | PipelineError]:
        self.threads.add(threading.current_thread().name)
        self.on_prepare(batch)
        return list(batch)

    def run(self, prepared: Sequence[str | PipelineError]) -> Sequence[str | PipelineError]:
        self.threads.add(threading.current_thread().name)
        batch = [str(item) for item in prepared]
        self.runs.append(batch)
        self.on_run(batch)
        return [2 * item for item in batch] + self.extra


def flaw(outcome: Any) -> str | None:
    """Results are text; `nan` is none."""
    if isinstance(outcome, PipelineError):
        return None
    return None if isinstance(outcome, str) and outcome != "nan" else "no number"


class Bench:
    """A worker, its inference, and the waits it asked for."""

    def __init__(self) -> None:
        self.worker = Doubler()
        self.waits_s: list[float] = []
        self.inference = Inference(self.worker, retries=3, flaw=flaw, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.waits_s.append(seconds)

    async def answers(self, *messages: str) -> list[Any]:
        """Outcomes, errors as their reasons."""
        prepared = await self.inference.prepare(messages)
        outcomes = await self.inference.run(messages, prepared)
        late = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, TransientError)]
        again = await self.inference.retry([messages[n] for n in late])
        for n, outcome in zip(late, again, strict=True):
            outcomes[n] = outcome
        return [outcome.reason if isinstance(outcome, PipelineError) else outcome for outcome in outcomes]


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    made.inference.close()


def refuse(*poison: str) -> Act:
    def act(batch: Sequence[str]) -> None:
        if found := set(poison) & set(batch):
            raise RuntimeError(f"can't take {found}")

    return act


def fail(*errors: Exception | None) -> Act:
    """Raise these, one a call; None lets a call pass."""
    left = list(errors)

    def act(batch: Sequence[str]) -> None:
        if left and (error := left.pop(0)) is not None:
            raise error

    return act


def broken(batch: Sequence[str]) -> None:
    raise RuntimeError("out of order")


async def test_results_come_in_the_order_of_the_messages(bench: Bench):
    assert await bench.answers("a", "b", "c") == ["aa", "bb", "cc"]


async def test_preparing_and_running_have_a_thread_each_beside_the_event_loop(bench: Bench):
    await bench.answers("a")
    assert bench.worker.threads == {"prepare_0", "model_0"}


async def test_an_empty_batch_never_reaches_the_worker(bench: Bench):
    assert await bench.answers() == []
    assert bench.worker.runs == []


@pytest.mark.parametrize("place", range(7))
async def test_one_poisonous_message_fails_alone_wherever_it_stands(bench: Bench, place: int):
    messages = list("abcdefg")
    bench.worker.on_run = refuse(messages[place])
    expected = [2 * m for m in messages]
    expected[place] = "model_failed"
    assert await bench.answers(*messages) == expected


async def test_several_poisonous_messages_are_all_found(bench: Bench):
    bench.worker.on_run = refuse("b", "c", "g")
    found = await bench.answers(*"abcdefgh")
    bad = "model_failed"
    assert found == ["aa", bad, bad, "dd", "ee", "ff", bad, "hh"]


async def test_a_batch_that_can_not_be_prepared_as_a_whole_is_split_too(bench: Bench):
    bench.worker.on_prepare = refuse("b")
    assert await bench.answers("a", "b", "c") == ["aa", "model_failed", "cc"]


async def test_a_wrong_number_of_results_is_a_failure_and_never_shifts_the_neighbours(bench: Bench):
    bench.worker.extra = ["one too many"]
    assert await bench.answers("a", "b") == ["model_failed", "model_failed"]


async def test_errors_in_their_place_pass_through(bench: Bench):
    wrong = MessageError("no", reason="image_format")
    bench.worker.run = lambda prepared: ["aa", wrong]  # type: ignore[method-assign]
    assert await bench.answers("a", "b") == ["aa", "image_format"]


async def test_a_transient_failure_is_tried_again_after_growing_waits(bench: Bench):
    busy = TransientError("busy")
    bench.worker.on_run = fail(busy, busy, None)
    assert await bench.answers("a", "b") == ["aa", "bb"]
    assert bench.waits_s == [0.5, 1.0]


async def test_what_stays_transient_is_dead_lettered_after_the_retries(bench: Bench):
    bench.worker.on_run = fail(*[TransientError("busy", reason="timeout")] * 50)
    assert await bench.answers("a", "b") == ["timeout", "timeout"]
    assert len(bench.worker.runs) == 4
    assert bench.waits_s == [0.5, 1.0, 2.0]


async def test_only_the_messages_that_may_work_later_are_tried_again(bench: Bench):
    tries: list[list[str]] = []

    def run(prepared: Sequence[str | PipelineError]) -> list[str | PipelineError]:
        batch = [str(item) for item in prepared]
        tries.append(batch)
        late = TransientError("away", reason="claim_check_unreachable")
        return [late if m == "never" or (m == "late" and len(tries) < 3) else 2 * m for m in batch]

    bench.worker.run = run  # type: ignore[method-assign]
    found = await bench.answers("a", "late", "b", "never")
    assert found == ["aa", "latelate", "bb", "claim_check_unreachable"]
    assert tries == [["a", "late", "b", "never"], ["late", "never"], ["late", "never"], ["never"]]


async def test_a_retry_that_fails_for_good_is_split(bench: Bench):
    """The first failure hid the poison: the worker goes on, and the poison fails alone."""
    poison = refuse("b")
    calls: list[int] = []

    def act(batch: Sequence[str]) -> None:
        calls.append(len(batch))
        if len(calls) == 1:
            raise TransientError("busy")
        poison(batch)

    bench.worker.on_run = act
    assert await bench.answers("a", "b", "c") == ["aa", "model_failed", "cc"]


@pytest.mark.parametrize("after_transient", [False, True])
async def test_a_fatal_error_goes_up_and_nothing_is_answered(bench: Bench, after_transient: bool):
    fatal = FatalError("the index does not fit", reason="index_mismatch")
    bench.worker.on_run = fail(*([TransientError("busy")] if after_transient else []), fatal)
    with pytest.raises(FatalError, match="does not fit"):
        await bench.answers("a", "b")


async def test_a_fatal_error_while_preparing_goes_up(bench: Bench):
    bench.worker.on_prepare = fail(FatalError("gone"))
    with pytest.raises(FatalError):
        await bench.answers("a")


async def test_messages_failing_one_after_the_other_are_the_models_fault(bench: Bench):
    bench.worker.on_run = broken
    for _ in range(MAX_CONSECUTIVE_FAILURES):
        assert await bench.answers("a") == ["model_failed"]
    with pytest.raises(FatalError) as raised:
        await bench.answers("a")
    assert raised.value.reason == "model_failed"


async def test_a_success_in_between_starts_the_count_anew(bench: Bench):
    bench.worker.on_run = refuse("bad")
    for _ in range(MAX_CONSECUTIVE_FAILURES):
        await bench.answers("bad")
    await bench.answers("good")
    assert await bench.answers("bad") == ["model_failed"]


async def test_a_model_that_fails_on_everything_stops_within_one_large_batch(bench: Bench):
    bench.worker.on_run = broken
    with pytest.raises(FatalError):
        await bench.answers(*(str(n) for n in range(300)))


# What a model can do wrong without raising


def giving(bench: Bench, *spoilt: str, spreads: bool = False) -> None:
    """Let messages give `nan`, alone or with all that are in the same batch."""

    def run(prepared: Sequence[str | PipelineError]) -> list[str | PipelineError]:
        batch = [str(item) for item in prepared]
        bench.worker.runs.append(batch)
        bad = set(batch) & set(spoilt)
        return ["nan" if m in bad or (bad and spreads) else 2 * m for m in batch]

    bench.worker.run = run  # type: ignore[method-assign]


async def test_a_result_that_is_no_number_fails_alone_and_is_tried_by_itself_first(bench: Bench):
    giving(bench, "b")
    assert await bench.answers("a", "b", "c") == ["aa", "model_failed", "cc"]
    assert bench.worker.runs == [["a", "b", "c"], ["b"]]


async def test_a_message_that_spoils_the_numbers_of_its_whole_batch_is_found(bench: Bench):
    giving(bench, "c", spreads=True)
    assert await bench.answers(*"abcde") == ["aa", "bb", "model_failed", "dd", "ee"]


async def test_a_model_that_gives_no_numbers_at_all_is_the_models_fault(bench: Bench):
    many = [str(n) for n in range(300)]
    giving(bench, *many)
    with pytest.raises(FatalError) as raised:
        await bench.answers(*many)
    assert raised.value.reason == "model_failed"


@pytest.mark.parametrize("given", [None, 7, object()], ids=["None", "a number", "an object"])
async def test_what_can_not_be_a_list_of_results_is_a_failure(bench: Bench, given: object):
    bench.worker.run = lambda prepared: given  # type: ignore[method-assign, assignment, return-value]
    assert await bench.answers("a", "b") == ["model_failed", "model_failed"]


@pytest.mark.parametrize("given", [None, [], ["too", "many", "by", "far"]])
async def test_a_preparation_of_another_length_is_tried_again_and_never_shifts_the_neighbours(
    bench: Bench, given: object
):
    real, calls = bench.worker.prepare, []

    def prepare(batch: Sequence[str]) -> Any:
        calls.append(batch)
        return given if len(calls) == 1 else real(batch)

    bench.worker.prepare = prepare  # type: ignore[method-assign]
    assert await bench.answers("a", "b") == ["aa", "bb"]


@pytest.mark.parametrize(
    "error", [StopIteration("odd"), asyncio.CancelledError(), SystemExit(3), RecursionError(), MemoryError()]
)
async def test_errors_that_the_event_loop_would_take_for_its_own_stay_the_messages(
    bench: Bench, error: BaseException
):
    def act(batch: Sequence[str]) -> None:
        if "b" in batch:
            raise error

    bench.worker.on_run = act
    assert await bench.answers("a", "b", "c") == ["aa", "model_failed", "cc"]


async def test_a_model_that_hangs_ends_the_process(bench: Bench):
    let_go = threading.Event()
    bench.worker.on_run = lambda batch: assert_let_go(let_go)
    inference = Inference(bench.worker, timeout_s=0.01)
    try:
        with pytest.raises(FatalError) as raised:
            await inference.run(["a"], ["a"])
        assert raised.value.reason == "timeout"
        assert inference.stuck
    finally:
        let_go.set()
        inference.close()


def assert_let_go(let_go: threading.Event) -> None:
    assert let_go.wait(60)
