"""Answers that nobody remembers are gone at once; a worker's garbage collector sees them hours later."""

import gc

from workers.text.results import Answer, result_of, shared_fields


def answers() -> int:
    """Answers that are in memory."""
    return sum(isinstance(one, Answer) for one in gc.get_objects())


def test_an_answer_and_its_results_hold_no_cycle() -> None:
    before = answers()
    gc.disable()
    try:
        answer = Answer(shared_fields("m", "l", "1"), "a", ["a", "b"], [0.9, 0.1], 0.8, finite=True)
        results = [result_of(answer, f"p{n}", "p0") for n in range(100)]
        assert results[7].candidates[0].label == "a"
        assert all(result.to_json() for result in results)
        del answer, results
        assert answers() == before
    finally:
        gc.enable()
