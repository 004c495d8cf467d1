"""Workers for tests: they keep the contract of workers.base.Worker and need no model."""

from collections.abc import Callable, Sequence

from schemas import Candidate, Post, TextResult
from workers.errors import PipelineError


class EchoWorker:
    """Labels every post `seen`; `misbehave` may raise for a post, or for a batch."""

    model = "echo"
    version = "1"

    def __init__(self, misbehave: Callable[[Sequence[Post]], None] | None = None) -> None:
        self._misbehave = misbehave
        self.batches: list[list[str]] = []

    def load(self) -> None:
        return

    def cost(self, message: Post) -> int:
        return len(message.text)

    def prepare(self, batch: Sequence[Post]) -> Sequence[Post | PipelineError]:
        return batch

    def run(self, prepared: Sequence[Post | PipelineError]) -> Sequence[TextResult | PipelineError]:
        posts = [post for post in prepared if isinstance(post, Post)]
        if self._misbehave:
            self._misbehave(posts)
        self.batches.append([post.id for post in posts])
        return [
            TextResult(
                id=post.id,
                label="seen",
                candidates=(Candidate(label="seen", probability=1.0),),
                model=self.model,
                label_set="test",
                version=self.version,
            )
            for post in posts
        ]
