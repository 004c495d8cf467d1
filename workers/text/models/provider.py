"""On what the sentence model runs: the processor, or a GPU where ONNX Runtime has one."""

from typing import Final, Literal

from workers.errors import FatalError

Provider = Literal["auto", "cpu", "cuda"]
Device = Literal["cpu", "cuda"]

PROVIDERS: Final[dict[Device, tuple[str, ...]]] = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
}
"""ONNX Runtime's names; what a GPU can't do falls to the processor."""


def device_for(provider: Provider) -> Device:
    """Find out what a provider means here.

    Args:
        provider: `auto` takes a GPU where there is one.

    Raises:
        FatalError: reason configuration: `cuda` is asked for, and there is none.
    """
    if provider == "cpu":
        return "cpu"
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return "cuda"
    if provider == "cuda":
        raise FatalError(
            "text.provider is cuda, but ONNX Runtime has no CUDA here: "
            "install onnxruntime-gpu in place of onnxruntime, and NVIDIA's driver",
            reason="configuration",
        )
    return "cpu"
