"""What the checker of a chaos run found."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Topics:
    """Full names."""

    posts: str
    images: str
    labels: str
    matches: str
    dead_letters: str
    control: tuple[str, ...] = ()


@dataclass
class Verdict:
    """What the checker found. All counts of faults should be 0."""

    inputs: int = 0
    results: int = 0
    dead_letters: int = 0
    lost: int = 0
    double: int = 0
    acknowledged_but_gone: int = 0
    """Inputs that the broker acknowledged and does not have: the broker's fault, not ours."""
    without_input: int = 0
    wrong_answer: int = 0
    wrong_dead_letter: int = 0
    """A good input dead-lettered, or a dead letter whose value is not its input's."""
    quarantined: int = 0
    """Good inputs whose owners died three times in a row over them, as the quarantine sees it. No fault: it
    can't tell a SIGKILL from a crash."""
    out_of_order: int = 0
    committed_too_far: int = 0
    committed_back: int = 0
    samples: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)
    """The first few faults in words."""

    @property
    def faultless(self) -> bool:
        return not (
            self.lost
            or self.double
            or self.acknowledged_but_gone
            or self.without_input
            or self.wrong_answer
            or self.wrong_dead_letter
            or self.out_of_order
            or self.committed_too_far
            or self.committed_back
        )

    def say(self, what: str) -> None:
        if len(self.examples) < 40:
            self.examples.append(what)
