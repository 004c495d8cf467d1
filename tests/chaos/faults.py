"""The faults by name, and the schedule that a seed draws of them."""

import random

from tests.chaos import broker_faults, worker_faults
from tests.chaos.stage import Fault
from tests.chaos.worker import POINTS

FAULTS: dict[str, tuple[Fault, int]] = {
    "SIGKILL": (worker_faults.kill, 3),
    "SIGKILL of all": (worker_faults.kill_all, 1),
    **{f"SIGKILL {point}": (worker_faults.die_at(point), 1) for point in POINTS},
    "SIGTERM under load": (worker_faults.terminate, 3),
    "SIGTERM with hung inference": (worker_faults.terminate_hung, 1),
    "hung inference": (worker_faults.hang, 1),
    "GIL held past the session": (worker_faults.hold_gil, 1),
    "SIGSTOP past the session": (worker_faults.freeze, 3),
    "SIGSTOP of all": (worker_faults.freeze_all, 1),
    "join and leave storm": (worker_faults.storm, 2),
    "rolling restart": (worker_faults.rolling_restart, 1),
    "more workers than partitions": (worker_faults.more_than_partitions, 1),
    "model busy": (worker_faults.busy_model, 1),
    "model slow": (worker_faults.slow_model, 1),
    "clock jump": (worker_faults.clock_jump, 1),
    "broker crash": (broker_faults.crash_broker, 2),
    "broker away past all timeouts": (broker_faults.broker_away, 1),
    "broker restart": (broker_faults.restart_broker, 1),
    "broker paused": (broker_faults.pause_broker, 2),
    "broker down at start": (broker_faults.broker_down_at_start, 1),
    "broker bounced in a rebalance": (broker_faults.broker_bounced_in_rebalance, 1),
    "network slow": (broker_faults.slow_network, 2),
    "connections cut": (broker_faults.cut_connections, 3),
    "network silent": (broker_faults.silent_network, 2),
    "output too large": (broker_faults.oversize, 2),
    "poison": (broker_faults.poison, 2),
    "burst": (broker_faults.burst, 2),
    "dead-letter topic gone": (broker_faults.dead_letters_gone, 1),
    "control topics gone": (broker_faults.control_topics_gone, 1),
}
"""By name: the fault, and how often it is drawn beside the others."""


def draw(seed: int, count: int) -> list[str]:
    """A schedule: every kind once where there is room, then by weight, in an order that the seed draws."""
    source = random.Random(seed)
    names = list(FAULTS)
    source.shuffle(names)
    weights = [FAULTS[name][1] for name in names]
    drawn = names[:count] + source.choices(names, weights, k=max(0, count - len(names)))
    source.shuffle(drawn)
    return drawn
