"""Workers on a model of a broker, and all that may happen to them.

What is modelled: aiokafka's clients (with its own transaction manager inside), the network between them and
the broker, and the group's coordinator, which is worse than a real one: it gives the partition to a worker
whenever it likes, whether the former owner knows of it or not. What is real: Assignment, PartitionDelivery
and the outlets, and on demand the Session.
"""

import asyncio
import re
from collections.abc import Hashable
from dataclasses import dataclass

from aiokafka.errors import KafkaConnectionError

from stream.claims import Claims
from stream.delivery import PartitionDelivery
from stream.transactions import Transactions
from tests.model.broker import ModelBroker
from tests.model.explorer import OWNER, Action, ModelLoop
from tests.model.model_worker import ModelWorker, Request
from workers.errors import FatalError, PipelineError


@dataclass(frozen=True)
class Bounds:
    """How large the world is.

    Attributes:
        inputs: records in the input partition.
        workers: processes.
        moves: times the partition may be given to a worker, the first time included.
        faults: requests or answers lost, transactions and timers that run out, all together.
        crashes: workers killed.
        exactly_once: the kind of outlet.
        slow_metadata: asking for a topic's partitions takes a request too.
        whole_session: with batches, drains and quarantine.
        whole_history: tell states apart by all that the workers have learnt, in order. That is certainly
            enough, and far more than is needed.
    """

    inputs: int = 2
    workers: int = 2
    moves: int = 2
    faults: int = 1
    crashes: int = 1
    exactly_once: bool = True
    slow_metadata: bool = False
    whole_session: bool = False
    whole_history: bool = False


class LaneWorld:
    """See World in explorer.py.

    Args:
        bounds: how large it is.
        transactions_type: Transactions, or one with a fault in it.
        claims_type: Claims, or one with a fault in it.
        delivery_type: PartitionDelivery, or one with a fault in it.
    """

    def __init__(
        self,
        bounds: Bounds,
        transactions_type: type[Transactions] = Transactions,
        claims_type: type[Claims] = Claims,
        delivery_type: type[PartitionDelivery] = PartitionDelivery,
    ) -> None:
        self.loop = ModelLoop()
        self.bounds = bounds
        self.broker = ModelBroker()
        self.transactions_type = transactions_type
        self.claims_type = claims_type
        self.delivery_type = delivery_type
        self.left = {"move": bounds.moves, "fault": bounds.faults, "crash": bounds.crashes}
        self.network: list[Request] = []
        self.over = False
        self.owner: ModelWorker | None = None
        """Whom the coordinator gave the partition last."""
        self.generation = 0
        self.workers = [ModelWorker(self, number) for number in range(bounds.workers)]

    # What may happen

    def actions(self) -> list[Action]:
        """What the explorer may choose from; see World."""
        return self.possible()

    def possible(self) -> list[Action]:
        """All that may happen."""
        self.network = [request for request in self.network if request.matters() or not request.orphan]
        found = [*self._arrivals(), *self._broker_steps()]
        for worker in self.workers:
            found += worker.actions()
        found += self._losses()
        return [action for action in found if action.costs is None or self.left[action.costs]]

    def _arrivals(self) -> list[Action]:
        return [
            Action(f"{request.name} arrives", lambda request=request: self._arrive(request))  # type: ignore[misc]
            for request in self.network
            if request.allowed()
        ]

    def _losses(self) -> list[Action]:
        found = []
        for request in self.network:
            if request.orphan:
                continue  # an orphan that never arrives is one more run
            found.append(
                Action(f"{request.name} is lost", lambda r=request: self._lose(r, late=False), "fault")  # type: ignore[misc]
            )
            if request.matters():
                late = f"{request.name} is given up, still on its way"
                found.append(Action(late, lambda r=request: self._lose(r, late=True), "fault"))  # type: ignore[misc]
        for name, transaction in self.broker.open.items():
            age = f"{name} @{name}:{transaction.epoch}"
            found.append(Action(f"{age} runs out", lambda name=name: self.broker.expire(name), "fault"))  # type: ignore[misc]
        for timer in self.loop.timers():
            owner = timer._context.get(OWNER)  # type: ignore[attr-defined]
            if owner is not None and not owner.dead:
                found.append(
                    Action(f"{owner} waits too long", lambda t=timer, o=owner: self._fire(t, o), "fault")
                )  # type: ignore[misc]
        return found

    def _broker_steps(self) -> list[Action]:
        return [
            Action(f"{name} is completed", lambda name=name: self.broker.complete(name))  # type: ignore[misc]
            for name in self.broker.prepared
        ]

    def _arrive(self, request: Request) -> None:
        self.network.remove(request)
        try:
            outcome = request.effect()
        except Exception as error:
            if not request.orphan:
                request.owner.learns(f"{request.name}: {type(error).__name__}")
                request.answer.set_exception(error)
            return
        if not request.orphan:
            request.owner.learns(f"{request.name}: {outcome}")
            request.answer.set_result(outcome)

    def _lose(self, request: Request, *, late: bool) -> None:
        """The client is told that the connection is gone. With `late` the request may still arrive."""
        self.left["fault"] -= 1
        if not late:
            self.network.remove(request)
        request.owner.learns(f"{request.name}: lost")
        request.answer.set_exception(KafkaConnectionError("gone"))

    def _fire(self, timer: asyncio.TimerHandle, owner: "ModelWorker") -> None:
        self.left["fault"] -= 1
        place = [t for t in self.loop.timers() if t._context.get(OWNER) is owner].index(timer)  # type: ignore[attr-defined]
        owner.learns(f"timer {place}")
        self.loop.fire(timer)

    # What must hold

    def key(self) -> Hashable:
        orphans = tuple(sorted(request.name for request in self.network if request.orphan))

        def relative(found: str) -> str:
            return re.sub(
                r"(@|init )(\S+): ?(\d+)",
                lambda m: f"{m[1]}{m[2]}:-{self.broker.age(m[2], int(m[3]))}",
                found,
            )

        return (
            self.broker.key(),
            tuple(worker.key(relative) for worker in self.workers),
            tuple(map(relative, orphans)),
            tuple(self.left.values()),
            self.owner.number if self.owner else None,
        )

    def check(self) -> None:
        answered = self.broker.answered()
        if self.bounds.exactly_once:
            assert len(answered) == len(set(answered)), f"answered twice: {answered}"
            assert answered == sorted(answered), f"out of order: {answered}"
            assert answered == list(range(self.broker.committed)), (
                f"committed {self.broker.committed} with {answered} answered"
            )
        else:
            lost = set(range(self.broker.committed)) - set(answered)
            assert not lost, f"lost: {lost}"
        assert self.broker.history == sorted(self.broker.history), f"went back: {self.broker.history}"
        for worker in self.workers:
            told = worker.told - (self.broker.decided() if self.bounds.exactly_once else set(answered))
            assert not told, f"{worker} says that {told} is done"
            error = worker.ended_with
            assert error is None or isinstance(error, PipelineError), f"{worker} ended with {error!r}"
            assert not isinstance(error, FatalError) or error.reason == "fenced", f"{worker}: {error}"
        if not any(a.costs is None for a in self.possible()) and self.owner and self.owner.owns:
            assert len(set(answered)) == self.bounds.inputs, f"{self.owner} owns the partition and is idle"

    def finish(self) -> None:
        """No more faults: whoever gets the partition last answers what is left."""
        self.left = dict.fromkeys(self.left, 0)
        healer = ModelWorker(self, len(self.workers))
        self.workers.append(healer)
        self.left["move"] = 1
        healer.take()
        self.loop.settle()
        for _ in range(200):
            free = [action for action in self.possible() if action.costs is None]
            if not free:
                break
            free[0].do()
            self.loop.settle()
            self.check()
        assert sorted(set(self.broker.answered())) == list(range(self.bounds.inputs)), "not all is answered"
        assert self.broker.committed == self.bounds.inputs, f"committed {self.broker.committed}"
