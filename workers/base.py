"""The contract between a lane and a worker.

A worker is synchronous and batch-first. A lane calls `prepare` for the next batch in one thread while `run`
works on the present one in another, so the two never share mutable state.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from workers.errors import PipelineError

MessageT_contra = TypeVar("MessageT_contra", contravariant=True)
PreparedT = TypeVar("PreparedT")
ResultT_co = TypeVar("ResultT_co", covariant=True)


class Worker(Protocol[MessageT_contra, PreparedT, ResultT_co]):
    """Turns messages into results, one for one and in order.

    Bad messages come back as errors in their place and never fail their neighbours.
    """

    @property
    def model(self) -> str:
        """The model's name, as it stands in results."""

    @property
    def version(self) -> str:
        """The version of the labels or gallery in force: the same version and input give the same result."""

    def load(self) -> None:
        """Load and warm the model.

        Raises:
            FatalError: a model, label set or gallery can't be used.
        """

    def cost(self, message: MessageT_contra) -> int:
        """Estimate the work in a message, in tokens or pixels, without doing it.

        A batch closes when the sum reaches the lane's budget.
        """

    def prepare(self, batch: Sequence[MessageT_contra]) -> Sequence[PreparedT | PipelineError]:
        """Tokenise or decode a batch; same length and order as the input."""

    def run(self, prepared: Sequence[PreparedT | PipelineError]) -> Sequence[ResultT_co | PipelineError]:
        """Infer on a prepared batch; same length and order; errors pass through untouched.

        Raises:
            TransientError: the batch as a whole may work later.
            FatalError: the worker can't go on.
        """


@dataclass(frozen=True, slots=True)
class Change:
    """A record of a control topic, as a worker sees it.

    Attributes:
        key: the record's key, decoded; of the newest record of each key, `value` is what is in force.
        value: the record's bytes; None takes away what the key names.
        headers: the record's.
        timestamp_ms: when it was published, milliseconds since the epoch.
    """

    key: str
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp_ms: int = 0


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of a change of labels or references, for an event on the metrics topic.

    Attributes:
        name: the label set or gallery.
        version: in force after the change, or, where it was refused, the one that was refused.
        refused: why it stays out; the former stays in force.
        removed: whether the name is gone.
        published_ms: timestamp of the newest record in it, milliseconds since the epoch.
        facts: further facts for the event.
    """

    name: str
    version: str | None
    refused: str | None = None
    removed: bool = False
    published_ms: int = 0
    facts: tuple[tuple[str, str | int | float | bool | None], ...] = ()


@runtime_checkable
class Controllable(Protocol):
    """A worker whose labels or references are changed while it runs.

    `apply_changes` is called in a thread of its own, beside `prepare` and `run`: what takes long (fitting,
    embedding) is done there, and what is in force is swapped at once, between two batches.
    """

    @property
    def ready(self) -> bool:
        """Whether there is anything to work with; a lane takes no input before."""

    @property
    def in_force(self) -> Mapping[str, str]:
        """Versions in force by label set or gallery."""

    def apply_changes(self, changes: Sequence[Change]) -> list[Applied]:
        """Take changes over, in order; in force from the next `run` on when it returns.

        At start it is called with the newest record of every key, then with records as they come. A change
        that can't be used is refused and never raises; the former stays in force.
        """
