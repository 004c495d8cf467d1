"""Settings of the text worker."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from config.section import Section


class TextSettings(Section):
    """How posts are labelled.

    Attributes:
        model: `sentence`, `static`, `cascade`, or a sentence-transformers name or folder.
        sentence_model: what `static` and `cascade` are distilled from: `sentence`, or a name or folder.
        cascade_agreement: share of posts whose label in the cascade is to be the sentence model's.
        cascade_max_share: at most this share of posts goes on to the sentence model in the cascade.
        labels: the label-set file to start with.
        threads: threads of the model; 0 takes all cores.
        provider: on what the sentence model runs: `cpu`, `cuda`, or `auto`, which takes a GPU where ONNX
            Runtime has one (the package onnxruntime-gpu).
        max_batch_items: a batch closes at this many posts.
        max_batch_tokens: a batch closes at this many estimated tokens.
        explain: whether results name the words that counted most; costs several times the time.
        batch_deadline_ms: without target_latency_ms a batch closes this long after its first post came.
        target_latency_ms: what a post is to take at most, 99 times of 100, from being read to its committed
            result. What comes while the model has nothing to do goes at once, else when it is nearly free. A
            batch takes three fifths of this at most, and more when so much waits that it can't be held;
            0: batches close by their limits and the deadline alone.
    """

    model: str = "sentence"
    sentence_model: str = "sentence"
    cascade_agreement: float = Field(0.98, gt=0, le=1)
    cascade_max_share: float = Field(0.16, gt=0, le=1)
    labels: Path | None = None
    threads: int = Field(0, ge=0)
    provider: Literal["auto", "cpu", "cuda"] = "auto"
    max_batch_items: int = Field(2_000, ge=1)
    max_batch_tokens: int = Field(16_384, ge=1)
    explain: bool = False
    batch_deadline_ms: float = Field(20.0, ge=0)
    target_latency_ms: float = Field(100.0, ge=0)
