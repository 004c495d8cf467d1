"""The contract between a lane and a worker.

A worker is synchronous and batch-first. A lane calls `prepare` for the next batch in one thread while `run`
works on the present one in another, so the two never share mutable state.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

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
