"""On what the sentence model runs."""

import numpy as np
import onnxruntime
import pytest

from workers.errors import FatalError
from workers.text.models.provider import Provider, device_for
from workers.text.models.sentence import sub_batches

CPU = ["AzureExecutionProvider", "CPUExecutionProvider"]
GPU = ["CUDAExecutionProvider", "CPUExecutionProvider"]


@pytest.mark.parametrize(
    ("asked", "there", "device"),
    [("auto", CPU, "cpu"), ("auto", GPU, "cuda"), ("cpu", GPU, "cpu"), ("cuda", GPU, "cuda")],
)
def test_a_gpu_is_taken_where_it_is_there_and_not_declined(
    monkeypatch: pytest.MonkeyPatch, asked: Provider, there: list[str], device: str
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: there)
    assert device_for(asked) == device


def test_a_gpu_that_is_not_there_is_wrong_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: CPU)
    with pytest.raises(FatalError, match="onnxruntime-gpu") as caught:
        device_for("cuda")
    assert caught.value.reason == "configuration"


def test_a_gpu_gets_large_batches() -> None:
    lengths = np.full(3_000, 50)
    assert len(sub_batches(lengths, 1, most=32_768)) == 5
