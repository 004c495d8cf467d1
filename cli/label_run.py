"""The work of `feedsight label`: posts in, in order, batches through the worker, lines of JSON out."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO, Final

import orjson

from cli.post_inputs import PostReader, RawPost
from cli.progress import Progress
from schemas import Post, TextResult
from workers.errors import FatalError, MessageError, PipelineError
from workers.text.encoders import PreparedPost
from workers.text.parse import UnknownFields, parse_post, post_of_text, salvage_id
from workers.text.worker import TextWorker

BATCH_POSTS: Final = 1_024
"""Posts labelled at once: enough to sort by length, few enough for results to flow."""

Batch = tuple[Sequence[RawPost], Sequence[PreparedPost | PipelineError]]


class LabelRun:
    """Labels the posts of one command line. Memory is bounded by the batch.

    Args:
        worker: loaded.
        reader: what to label.
        unknown_fields: whether fields that a post does not have are errors.
    """

    def __init__(self, worker: TextWorker, reader: PostReader, *, unknown_fields: UnknownFields) -> None:
        self._worker = worker
        self._reader = reader
        self._unknown_fields: UnknownFields = unknown_fields
        self._failed = 0

    def to(self, output: BinaryIO) -> int:
        """Write a line for each post; gives the exit status, 0 or 1.

        The next batch is read and tokenised while the model works on the present one; where nothing more
        has come, the present one is not kept waiting.

        Raises:
            FatalError: the model failed for good.
            InputError: a file can't be read.
        """
        present: Future[Batch] | None = None
        with ThreadPoolExecutor(1, "prepare") as ahead, Progress("posts") as progress:
            while True:
                raw = self._reader.next_batch(BATCH_POSTS, wait=present is None)
                following = ahead.submit(self._prepare, raw) if raw else None
                if present is None and following is None:
                    return 1 if self._failed else 0
                if present is not None:
                    posts, prepared = present.result()
                    output.write(b"".join(map(self._line, posts, self._run(prepared))))
                    output.flush()
                    progress.advance(len(posts))
                present = following

    def _prepare(self, raw: Sequence[RawPost]) -> Batch:
        read = [self._read(one) for one in raw]
        prepared = iter(self._worker.prepare([post for post in read if isinstance(post, Post)]))
        return raw, [next(prepared) if isinstance(post, Post) else post for post in read]

    def _read(self, raw: RawPost) -> Post | PipelineError:
        try:
            if raw.text_id is not None:
                return post_of_text(raw.text_id, raw.value)
            return parse_post(raw.value, unknown_fields=self._unknown_fields)
        except MessageError as error:
            return error

    def _run(self, prepared: Sequence[PreparedPost | PipelineError]) -> Sequence[TextResult | PipelineError]:
        """Run a batch; where it fails as a whole, each post alone, so that one never fails its neighbours."""
        try:
            outcomes = self._worker.run(prepared)
            return [outcome[0] if isinstance(outcome, tuple) else outcome for outcome in outcomes]
        except FatalError:
            raise
        except Exception as error:
            if len(prepared) > 1:
                return [outcome for one in prepared for outcome in self._run([one])]
            if isinstance(error, PipelineError):
                return [error]
            detail = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            return [MessageError(detail, reason="model_failed")]

    def _line(self, raw: RawPost, outcome: TextResult | PipelineError) -> bytes:
        if isinstance(outcome, TextResult):
            return outcome.to_json() + b"\n"
        self._failed += 1
        error = {"reason": outcome.reason, "detail": outcome.detail}
        post_id = raw.text_id or salvage_id(raw.value)
        return orjson.dumps({"id": post_id, "error": error, "line": raw.line}) + b"\n"
