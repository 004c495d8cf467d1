"""Which message ends the process: workers that die and are started again, with the notes that they leave."""

import asyncio
import random
from collections.abc import Iterable

import pytest

from stream.quarantine import ALONE, CALM, MAX_SUSPECTS, PIECE_ITEMS, PIECES, Note, Quarantine, Suspicion
from stream.records import Item
from tests.unit.stream.fakes import Record
from workers.errors import PipelineError


class DiedError(Exception):
    """The process is gone."""


class Partition:
    """What the broker keeps of a partition: the committed offset, the note beside it, the answers."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.committed: int | None = None
        self.note = ""
        self.answers: dict[int, str] = {}


class Delivery:
    """A delivery in one life of a worker; what is answered is committed at once."""

    def __init__(self, kept: Partition, owner: str) -> None:
        self.kept = kept
        self.suspicion = Suspicion(owner)
        self.closed = False
        self.next_offset = kept.length
        self.notes = 0
        if kept.committed is not None:
            self.suspicion.opened(kept.committed, kept.note)

    async def note(self, text: str, first_offset: int) -> None:
        self.notes += 1
        if self.kept.committed is None:
            self.kept.committed = first_offset
        self.kept.note = text

    async def passed(self, offset: int) -> None:
        assert self.kept.committed is not None
        assert self.kept.committed > offset, "a piece was given before the one before it was committed"

    def commit(self, items: Iterable[Item]) -> None:
        for item in items:
            offset = item.record.offset
            assert offset not in self.kept.answers, "answered twice"
            failed = isinstance(item.message, PipelineError)
            self.kept.answers[offset] = item.message.reason if failed else "ok"
            self.kept.committed = offset + 1
        self.kept.note = self.suspicion.working(self.kept.committed or 0, self.next_offset)


class World:
    """Workers that live one after the other, each until it meets a message that kills it."""

    def __init__(self, *lengths: int, killers: set[tuple[int, int]], batch: int = 1_000) -> None:
        self.kept = [Partition(length) for length in lengths]
        self.killers = killers
        self.batch = batch
        self.deaths = 0
        self.tried: list[int] = []
        """Size of each piece that was tried."""

    async def live(self) -> None:
        """One life.

        Raises:
            DiedError: at a killer.
        """
        owner, quarantine = f"process-{self.deaths}", Quarantine()
        deliveries = [Delivery(kept, owner) for kept in self.kept]
        waiting = [
            Item(Record(offset=offset, partition=place), "message", 1, delivery)
            for place, delivery in enumerate(deliveries)
            for offset in range(delivery.kept.committed or 0, delivery.kept.length)
        ]
        waiting.sort(key=lambda item: item.record.offset)  # partitions mixed, each in its order
        for start in range(0, len(waiting), self.batch):
            async for piece in quarantine.pieces(waiting[start : start + self.batch]):
                self._try(piece)

    def _try(self, piece: list[Item]) -> None:
        self.tried.append(len(piece))
        for item in piece:
            killer = (item.record.partition, item.record.offset) in self.killers
            if killer and not isinstance(item.message, PipelineError):
                self.deaths += 1
                raise DiedError
        for delivery in {item.delivery for item in piece}:
            delivery.commit(item for item in piece if item.delivery is delivery)

    def outlive(self, most: int = 100) -> None:
        """Start workers until one has answered everything."""
        while self.deaths < most:
            try:
                return asyncio.run(self.live())
            except DiedError:
                continue
        raise AssertionError(f"{self.deaths} deaths")

    def condemned(self) -> set[tuple[int, int]]:
        return {
            (place, offset)
            for place, kept in enumerate(self.kept)
            for offset, answer in kept.answers.items()
            if answer == "crashed_worker"
        }

    def all_answered(self) -> bool:
        return all(sorted(kept.answers) == list(range(kept.length)) for kept in self.kept)


@pytest.mark.parametrize("place", [0, 1, 255, 256, 600, 999])
def test_a_message_that_kills_three_workers_is_dead_lettered_alone(place: int):
    world = World(1_000, killers={(0, place)})
    world.outlive()
    assert world.condemned() == {(0, place)}
    assert world.all_answered()
    assert world.deaths == 3


def test_a_message_that_stands_alone_kills_three_times_too():
    world = World(1, killers={(0, 0)})
    world.outlive()
    assert world.deaths == 3
    assert world.condemned() == {(0, 0)}


@pytest.mark.parametrize("seed", range(20))
def test_of_several_killers_in_several_partitions_all_are_found_and_nobody_else(seed: int):
    random_ = random.Random(seed)
    lengths = [random_.randint(1, 1_500) for _ in range(3)]
    killers = {(place, random_.randrange(length)) for place, length in enumerate(lengths) for _ in range(2)}
    world = World(*lengths, killers=killers, batch=random_.choice([7, 100, 1_000]))
    world.outlive()
    assert world.condemned() == killers
    assert world.all_answered()


def test_without_a_death_batches_stay_whole_and_a_partition_costs_one_note():
    world = World(5_000, killers=set())
    world.outlive()
    assert world.tried == [1_000] * 5


def test_a_killer_far_ahead_of_the_committed_offset_is_found_some_deaths_later():
    """Deaths without a note nearby say little; each brings the committed offset closer."""
    place = 3 * MAX_SUSPECTS
    world = World(place + 10, killers={(0, place)}, batch=place + 10)
    world.outlive()
    assert world.condemned() == {(0, place)}
    assert world.all_answered()
    assert world.deaths <= 7


# What a note says to the next owner


def opened(note: Note | str, offset: int = 100, owner: str = "me") -> Suspicion:
    suspicion = Suspicion(owner)
    suspicion.opened(offset, note if isinstance(note, str) else note.text())
    return suspicion


def test_a_worker_that_died_while_working_makes_some_offsets_suspect_and_no_more():
    near, far = opened(Note("dead", False, CALM, 101)), opened(Note("dead", False, CALM, 99_999))
    assert (near.level, near.end) == (PIECES, 100 + PIECE_ITEMS)
    assert (far.level, far.end) == (PIECES, 100 + MAX_SUSPECTS)


def test_a_worker_that_joins_anew_did_not_die():
    assert opened(Note("me", False, CALM, 500)).level == CALM
    assert opened(Note("me", True, ALONE, 101)).level == ALONE


def test_a_worker_that_died_while_it_tried_others_condemns_nobody():
    """Only one piece is tried at a time: what waited for its own trial is as suspect as before."""
    waiting = opened(Note("dead", False, ALONE, 110))
    assert (waiting.level, waiting.end) == (ALONE, 110)


def test_a_worker_that_leaves_in_order_leaves_no_suspicion():
    suspicion = Suspicion("me")
    suspicion.working(10, 20)
    assert suspicion.let_go() == ""
    assert opened("").level == CALM


def test_suspicion_ends_where_the_suspects_are_committed():
    suspicion = opened(Note("dead", True, PIECES, 110), offset=100)
    assert suspicion.level == ALONE
    suspicion.working(109, 500)
    assert suspicion.suspects(109)
    suspicion.working(110, 500)
    assert not suspicion.suspects(110)


@pytest.mark.parametrize("odd", ["", "other tool", "feedsight-1 a b c d", "feedsight-1 a trying x 3", None])
def test_the_metadata_of_others_is_passed_over(odd: str | None):
    assert Note.read(odd) is None


def test_notes_read_back():
    note = Note("0123456789abcdef", True, ALONE, 2**62)
    assert Note.read(note.text()) == note
    assert len(note.text()) < 100
