"""Reading ahead of a worker that is busy: what overtakes, what is superseded, and how much may wait."""

import asyncio

from stream import read_ahead
from stream.read_ahead import ReadAhead
from workers.base import Change


def change(key: str, value: bytes | None = b"x") -> Change:
    return Change(key, value)


async def test_removals_come_back_at_once_and_the_others_in_order():
    ahead = ReadAhead()
    assert ahead.add([change("a"), change("b", None), change("c")]) == [change("b", None)]
    assert [taken.key for taken in await ahead.take()] == ["a", "c"]


async def test_of_each_key_the_newest_waits_in_the_newest_place():
    ahead = ReadAhead()
    ahead.add([change("a", b"1"), change("b")])
    ahead.add([change("a", b"2")])
    assert await ahead.take() == [change("b"), change("a", b"2")]


async def test_what_is_removed_while_it_waits_is_never_applied():
    ahead = ReadAhead()
    ahead.add([change("a"), change("b")])
    assert ahead.add([change("a", None)]) == [change("a", None)]
    assert await ahead.take() == [change("b")]
    assert ahead.add([change("a", None), change("a", b"again")]) == []
    assert await ahead.take() == [change("a", b"again")]


async def test_reading_waits_while_too_much_waits(monkeypatch):
    monkeypatch.setattr(read_ahead, "AHEAD_BYTES", 10)
    monkeypatch.setattr(read_ahead, "CHUNK", 1)
    ahead = ReadAhead()
    ahead.add([change("a", b"x" * 8), change("b", b"y" * 8)])
    reading = asyncio.create_task(ahead.room())
    await asyncio.sleep(0)
    assert not reading.done()
    await ahead.take()
    await reading


async def test_who_takes_waits_for_the_next_change():
    ahead = ReadAhead()
    taking = asyncio.create_task(ahead.take())
    await asyncio.sleep(0)
    ahead.add([change("a")])
    await ahead.room()
    assert await taking == [change("a")]
