"""What a chaos run found, for people and as JSON."""

from dataclasses import dataclass, field

from tests.chaos.verdict import Verdict


@dataclass
class Report:
    """What a run found; times in seconds, memory in MiB."""

    seed: int
    delivery: str
    minutes: float = 0.0
    sent: int = 0
    acknowledged: int = 0
    failed: int = 0
    unknown: int = 0
    verdict: Verdict = field(default_factory=Verdict)
    faults: dict[str, int] = field(default_factory=dict)
    fault_count: int = 0
    violations: list[str] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)
    """Points at which no worker came by in time to be killed there; it was killed somewhere else."""
    longest_stall_s: float = 0.0
    longest_stall_in: str = ""
    longest_stall_by_fault_s: dict[str, float] = field(default_factory=dict)
    slowest_heal_s: float = 0.0
    slowest_heal_after: str = ""
    worker_peak_mib: float = 0.0
    worker_median_first_half_mib: float = 0.0
    worker_median_second_half_mib: float = 0.0
    most_in_flight: int = 0
    most_queue_bytes: int = 0
    exits: dict[str, int] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        return self.verdict.faultless and not self.violations


def text(report: Report) -> str:
    """For people."""
    found = report.verdict
    reasons = ", ".join(f"{count} {reason}" for reason, count in found.reasons.items())
    faults = ", ".join(f"{count} × {name}" for name, count in report.faults.items())
    exits = ", ".join(f"{count} × {how}" for how, count in sorted(report.exits.items()))
    lines = [
        f"seed {report.seed}, {report.delivery}, {report.minutes} minutes",
        f"sent          {report.sent:,} ({report.acknowledged:,} acknowledged, {report.failed:,} failed, "
        f"{report.unknown:,} unknown); {found.inputs:,} on the topics",
        f"results       {found.results:,}",
        f"dead letters  {found.dead_letters:,} ({reasons})",
        f"lost          {found.lost}",
        f"double        {found.double}",
        f"else          without input {found.without_input}, wrong answer {found.wrong_answer}, "
        f"wrong dead letter {found.wrong_dead_letter}, out of order {found.out_of_order}, "
        f"lost by the broker {found.acknowledged_but_gone}",
        f"quarantined   {found.quarantined} good inputs, over which workers seemed to die three times",
        f"offsets       {found.samples:,} samples: committed too far {found.committed_too_far}, "
        f"went back {found.committed_back}",
        f"faults        {report.fault_count}: {faults}",
        f"longest stall {report.longest_stall_s} s ({report.longest_stall_in}); slowest to catch up after a "
        f"fault: {report.slowest_heal_s} s ({report.slowest_heal_after})",
        f"memory        a worker {report.worker_peak_mib} MiB at most; median of the largest "
        f"{report.worker_median_first_half_mib} in the first half, "
        f"{report.worker_median_second_half_mib} in the second",
        f"queue         {report.most_in_flight:,} inputs, {report.most_queue_bytes:,} bytes at most",
        f"exits         {exits}",
        *(f"not reached   {point}; killed elsewhere" for point in report.unreached),
        f"verdict       {'all invariants hold' if report.good else 'BROKEN'}",
        *(f"  ! {violation}" for violation in report.violations),
        *(f"  ! {example}" for example in found.examples),
    ]
    return "\n".join(lines)
