"""Turns at a model: who matches goes before who enrols, and nobody waits forever."""

import threading

import pytest

from config import ImageSettings
from schemas import Reference
from tests.unit.image.fakes import BrightnessMode
from tests.unit.image.test_live_gallery import grey
from workers.image.claim_check import ClaimChecks
from workers.image.decode import Decoder
from workers.image.enrolment import Enrolment
from workers.image.live_gallery import Entry
from workers.image.models.turns import Turns, let_others_first, lets_others_first


def waits(turns: Turns, name: str, order: list[str], *, first: bool) -> threading.Thread:
    def run() -> None:
        if not first:
            let_others_first()
        with turns.taken():
            order.append(name)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize("came_first", ["enrols", "matches"])
def test_who_matches_goes_first_whoever_came_first(came_first: str) -> None:
    turns, order = Turns(patience_s=60), list[str]()
    names = [came_first, "matches" if came_first == "enrols" else "enrols"]
    with turns.taken():
        threads = [waits(turns, name, order, first=name == "matches") for name in names]
        while turns.wanted < 1:  # it waits once it is counted
            pass
    for thread in threads:
        thread.join(10)
    assert order == ["matches", "enrols"]


def test_who_has_lost_patience_no_longer_waits_for_others_to_come() -> None:
    turns, order = Turns(patience_s=0), list[str]()
    with turns.taken():
        thread = waits(turns, "enrols", order, first=False)
        while turns.wanted < 1:
            pass
    thread.join(10)
    assert order == ["enrols"]


def test_a_turn_is_given_back_where_the_model_fails() -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns.taken():
        1 / 0  # noqa: B018
    with turns.taken():
        pass


def test_references_are_described_by_a_thread_that_lets_others_first() -> None:
    described = []

    class Noting(BrightnessMode):
        def describe(self, references):
            described.append(lets_others_first())
            return super().describe(references)

    settings = ImageSettings()
    enrolment = Enrolment(Decoder(10**6, 10**6), ClaimChecks(settings), 2)
    [made] = enrolment.prepare(Noting(settings), [Reference(id="r", content=grey(9))], lambda _: None)
    enrolment.close()
    assert isinstance(made, Entry)
    assert described == [True]
    assert not lets_others_first()


def test_who_describes_has_the_priority_of_who_made_the_enrolment_and_not_of_who_calls_it() -> None:
    """A thread inherits the priority of the thread that starts it, and so would the model's own."""
    settings, before = ImageSettings(), set(threading.enumerate())
    enrolment = Enrolment(Decoder(10**6, 10**6), ClaimChecks(settings), 2)
    names = [thread.name for thread in set(threading.enumerate()) - before]
    enrolment.close()
    assert any(name.startswith("describe") for name in names)
