"""Changes of a control topic while a worker is busy: a removal does not wait for what came before it."""

import asyncio
import threading
from collections.abc import Mapping, Sequence

from stream.client import Outgoing
from stream.control import Control
from tests.support.lanes import fresh_settings, send, until
from workers.base import Applied, Change


class BusyWorker:
    """Takes for an enrolment as long as the test wants, and for a removal no time."""

    removals_overtake = True

    def __init__(self) -> None:
        self.applied: list[str] = []
        self.busy = threading.Event()
        self.may_go_on = threading.Event()

    @property
    def ready(self) -> bool:
        return True

    @property
    def in_force(self) -> Mapping[str, str]:
        return {}

    def apply_changes(self, changes: Sequence[Change]) -> list[Applied]:
        if any(change.value is not None for change in changes):
            self.busy.set()
            assert self.may_go_on.wait(30)
        self.applied += [change.key + ("" if change.value is not None else " -") for change in changes]
        return [Applied("g", "1")]


async def test_a_removal_overtakes_what_is_being_enrolled(embedded_bootstrap: str) -> None:
    settings = fresh_settings(embedded_bootstrap)
    await send(settings, "references", [Outgoing(b"g/start", None)])
    worker = BusyWorker()
    control = Control(settings.kafka, settings.topics.prefix + "references", worker, lambda *_: None)
    await control.start()

    async def read() -> bool:
        return worker.applied == ["g/start -"]

    async def busy() -> bool:
        return worker.busy.is_set()

    async def removed() -> bool:
        return {"g/a -", "g/b -"} <= set(worker.applied)

    async def all_done() -> bool:
        return "g/c" in worker.applied

    try:
        await until(read)
        await send(settings, "references", [Outgoing(b"g/a", b"x")])
        await until(busy)
        await send(
            settings,
            "references",
            [Outgoing(b"g/b", b"x"), Outgoing(b"g/c", b"x"), Outgoing(b"g/a", None), Outgoing(b"g/b", None)],
        )
        await until(removed)
        assert not {"g/a", "g/b", "g/c"} & set(worker.applied)
        worker.may_go_on.set()
        await until(all_done)
        assert "g/b" not in worker.applied  # it was removed before its turn came
    finally:
        worker.may_go_on.set()
        await control.stop()
        await asyncio.sleep(0)
