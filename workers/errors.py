"""Errors, classed by what the pipeline does next.

    PipelineError            reason: one of REASONS; retriable
    ├ MessageError           dead-letter now, go on
    ├ TransientError         retry with back-off, then dead-letter
    └ FatalError             stop with a status, commit nothing

`reason` is the dead-letter header and the metric label, so it comes from a closed set. Library errors are
translated once, at each boundary, with `raise … from error`.
"""

from typing import ClassVar, Final

REASONS: Final = frozenset(
    {
        # any input
        "not_json",
        "bad_encoding",
        "null_value",
        "schema",
        "unknown_field",
        "empty_text",
        "too_large",
        # corrections
        "unknown_label",
        "unknown_post",
        # images
        "image_undecodable",
        "image_format",
        "image_too_large",
        "image_bomb",
        "claim_check_refused",
        "claim_check_unreachable",
        "claim_check_mismatch",
        "unknown_reference",
        "unknown_subject",
        "empty_gallery",
        "unknown_gallery",
        # what a model or a dependency did
        "model_failed",
        "model_output",
        "crashed_worker",
        "timeout",
        "unavailable",
        "unexpected",
        # fatal
        "configuration",
        "model_load",
        "index_mismatch",
        "fenced",
        "delivery",
        "stalled",
    }
)


class PipelineError(Exception):
    """Base of all errors that the pipeline acts on.

    Args:
        detail: one line for a person; it never holds secrets or the message's content.
        reason: one of REASONS; the class's own where it is left out.
    """

    default_reason: ClassVar[str] = "unexpected"
    retriable: ClassVar[bool] = False

    def __init__(self, detail: str, *, reason: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.reason = reason or self.default_reason
        if self.reason not in REASONS:
            raise ValueError(f"unknown reason {self.reason!r}")


class MessageError(PipelineError):
    """This message can't be answered, now or later: dead-letter it and go on."""

    default_reason = "schema"


class TransientError(PipelineError):
    """It may work later: retry with back-off, then dead-letter."""

    default_reason = "unavailable"
    retriable = True


class FatalError(PipelineError):
    """The worker can't go on: stop with a status and commit nothing."""

    default_reason = "configuration"
