"""What a benchmark ran on: figures without it say little."""

import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

PACKAGES: Final = (
    "feedsight", "aiokafka", "faust-streaming", "faststream", "uvloop", "pydantic", "numpy", "onnxruntime",
    "openvino", "tokenizers", "torch", "sentence-transformers", "faiss-cpu",
)  # fmt: skip
FLAGS: Final = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
"""What decides how fast an int8 or bfloat16 product is."""


def machine() -> dict[str, object]:
    """Name the processor, the cores this process may use, the load before the run, and versions."""
    facts = _cpu_facts()
    return {
        "cpu": facts.get("model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "flags": [flag for flag in FLAGS if flag in facts.get("flags", "").split()],
        "load": [round(load, 1) for load in os.getloadavg()],
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": _versions(),
    }


def machine_line(facts: Mapping[str, object]) -> str:
    """The same on one line."""
    flags = facts["flags"] if isinstance(facts["flags"], list) else []
    return f"{facts['cpu']}, {facts['cores']} cores ({', '.join(flags)}), Python {facts['python']}"


def _cpu_facts() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").partition("\n\n")[0].splitlines()
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
