"""The batcher under load, in simulated time: a model behind it, messages at random moments, nobody waits."""

import random
from dataclasses import dataclass, field

import pytest

from workers.batching import Batcher

TARGET_S = 0.1
DELIVERY_S = 0.02
"""What committing takes after the model."""


@dataclass
class Model:
    """Takes a time for each batch, and one for each unit of cost."""

    batch_s: float
    unit_s: float

    def seconds(self, cost: int) -> float:
        return self.batch_s + self.unit_s * cost

    @property
    def rate(self) -> float:
        """Messages of cost 1 a second, in large batches."""
        return 1 / self.unit_s


@dataclass
class Simulation:
    """One session: the next batch is taken while the model works on the last, as stream/session.py does."""

    model: Model
    target_s: float | None = TARGET_S
    now: float = 0.0
    latencies: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def run(self, arrivals: list[float]) -> None:
        batcher: Batcher[float] = Batcher(
            max_items=2_000, max_cost=16_384, deadline_s=0.02, target_s=self.target_s, clock=lambda: self.now
        )
        waiting = iter(arrivals)
        coming = next(waiting, None)
        busy: tuple[float, list[float], int] | None = None
        prepared: tuple[list[float], int] | None = None
        while coming is not None or len(batcher) or busy or prepared:
            if busy is None and prepared is not None:
                batch, cost = prepared
                busy, prepared = (self.now + self.model.seconds(cost), batch, cost), None
            free_in_s = busy[0] - self.now if busy else 0.0
            if prepared is None and batcher.due_in(free_in_s) == 0:
                prepared = (batcher.take(), batcher.taken_cost)
                continue
            due_s = batcher.due_in(free_in_s) if prepared is None else None
            moments = [
                moment
                for moment in (
                    coming,
                    busy[0] if busy else None,
                    None if due_s is None else self.now + due_s + 1e-9,
                )
                if moment is not None
            ]
            self.now = max(self.now, min(moments))
            if busy and busy[0] <= self.now:
                self.latencies += [self.now + DELIVERY_S - came for came in busy[1]]
                self.sizes.append(len(busy[1]))
                batcher.worked(busy[2], self.model.seconds(busy[2]))
                busy = None
            while coming is not None and coming <= self.now:
                batcher.extend([coming], [1])
                coming = next(waiting, None)

    def share(self, part: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def poisson(rate: float, seconds: float) -> list[float]:
    random_ = random.Random(1)
    moments = [0.0]
    while moments[-1] < seconds:
        moments.append(moments[-1] + random_.expovariate(rate))
    return moments


MODELS = {
    "like the sentence lane": Model(0.002, 1 / 700),
    "like the static lane": Model(0.003, 1 / 20_000),
    "slow to start": Model(0.015, 1 / 2_000),
}


@pytest.mark.parametrize("name", MODELS)
def test_on_a_quiet_feed_a_message_waits_for_nobody(name: str) -> None:
    model = MODELS[name]
    quiet = Simulation(model)
    quiet.run(poisson(0.1 * model.rate, 400 / (0.1 * model.rate)))
    assert quiet.share(0.5) <= 2.2 * model.seconds(1) + DELIVERY_S


@pytest.mark.parametrize("name", ["like the sentence lane", "like the static lane"])
@pytest.mark.parametrize("load", [0.5, 0.8])
def test_the_target_is_held_at_half_load_and_above(name: str, load: float) -> None:
    model = MODELS[name]
    busy = Simulation(model)
    busy.run(poisson(load * model.rate, 4_000 / (load * model.rate)))
    assert busy.share(0.99) <= TARGET_S


def test_a_target_makes_a_quiet_feed_faster_than_a_deadline_alone() -> None:
    model = MODELS["like the static lane"]
    arrivals = poisson(0.1 * model.rate, 1.0)
    with_target, without = Simulation(model), Simulation(model, target_s=None)
    with_target.run(arrivals)
    without.run(arrivals)
    assert with_target.share(0.5) < 0.75 * without.share(0.5)


@pytest.mark.parametrize("name", MODELS)
def test_a_burst_is_worked_off_nearly_as_fast_as_the_model_can(name: str) -> None:
    model = MODELS[name]
    burst = Simulation(model)
    burst.run([0.0] * 20_000)
    assert burst.now <= 1.1 * 20_000 / model.rate
    assert max(burst.sizes) == 2_000
