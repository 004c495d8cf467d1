"""A worker process whose model dies or hangs over a post: `python -m tests.support.poisoned_worker ARGS`.

A post whose text begins with `abort` ends the process in native code, as a crash in a library would, `kill`
as the kernel does when memory runs out; over `hang` the model never comes back; for `wrong` it gives a
probability that is no number.
"""

import os
import signal
import sys
import threading
from collections.abc import Sequence

from config import load_settings
from schemas import Post, TextResult
from stream import app
from tests.support.workers import EchoWorker
from workers.errors import PipelineError
from workers.text.results import candidate, text_result


class Poisoned(EchoWorker):
    """Answers as EchoWorker does, until it meets poison."""

    def run(self, prepared: Sequence[Post | PipelineError]) -> Sequence[TextResult | PipelineError]:
        for post in prepared:
            if isinstance(post, Post):
                suffer(post.text)
        wrong = {n for n, post in enumerate(prepared) if isinstance(post, Post) and post.text[:5] == "wrong"}
        results = super().run(prepared)
        return [spoilt(result) if n in wrong else result for n, result in enumerate(results)]


def suffer(text: str) -> None:
    """Do what the text says."""
    if text.startswith("abort"):
        os.abort()
    if text.startswith("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    if text.startswith("hang"):
        threading.Event().wait()


def spoilt(result: TextResult | PipelineError) -> TextResult | PipelineError:
    """The result with a probability that is no number."""
    if isinstance(result, PipelineError):
        return result
    nan = (candidate("seen", float("nan")),)
    return text_result(result.id, "seen", nan, model="echo", label_set="test", version="1", margin=None)


def main(bootstrap: str, group: str, prefix: str, delivery: str) -> int:
    """Run the worker until it dies."""
    settings = load_settings(
        None,
        {
            "kafka": {"bootstrap": bootstrap, "group": group, "session_timeout_ms": 6_000},
            "topics": {"prefix": prefix},
            "text": {"max_batch_items": 200},
            "lane": {"inference_timeout_s": 3, "delivery": delivery},
            "metrics": {"port": 0},
        },
        {},
    )
    return app.run(settings, {"text": Poisoned()})


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
