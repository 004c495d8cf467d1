"""Export of a sentence-transformers model to ONNX, quantised to int8.

Run as a child process (`python -m workers.text.models.export SOURCE FOLDER`), so that a worker never holds
torch. Writes model.onnx, weights.bin, tokenizer.json and meta.json.

The graph takes int64 `input_ids` and `attention_mask`, both (batch, length), and gives float32 unit rows
(batch, d): pooling and normalising are part of it. The matrix products are in int8 (see quantise.py) where
that keeps the rows.
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime

from workers.text.models.calibration import CALIBRATION_TEXTS, CHECK_TEXTS
from workers.text.models.quantise import quantise

EXPORT_VERSION: Final = "4"
"""Part of the cache key: raise it when what is written changes."""

MAX_TOKENS: Final = 256
"""The longest window, in tokens; longer texts are cut into windows."""

MIN_COSINE: Final = 0.98
"""Mean cosine against torch below which the quantised model is not used and float32 is kept."""


def export(source: str, folder: Path, *, float32: bool = False) -> dict[str, Any]:
    """Export `source`, a sentence-transformers name or folder, into `folder`.

    Args:
        source: what to export.
        folder: where to.
        float32: leave the matrix products as they are, for a GPU.

    Returns:
        What meta.json holds: dimensions, max_tokens, prompt, quantised, cosine (mean, against torch).
    """
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(source, device="cpu", model_kwargs={"attn_implementation": "eager"})
    model.eval()
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ValueError("the model has no fast tokenizer")
    prompt = (model.prompts or {}).get(model.default_prompt_name or "", "") or ""

    class Unit(torch.nn.Module):  # type: ignore[misc]
        """Ids and mask to unit rows."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            features = {"input_ids": input_ids, "attention_mask": attention_mask}
            rows = self.model(features)["sentence_embedding"]
            return rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)

    sample = torch.randint(5, 900, (2, 7))
    mask = torch.ones_like(sample)
    mask[1, 5:] = 0
    shape = {0: "batch", 1: "length"}
    raw = folder / "raw.onnx"
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Unit(),
            (sample, mask),
            str(raw),
            input_names=["input_ids", "attention_mask"],
            output_names=["rows"],
            dynamic_axes={"input_ids": shape, "attention_mask": shape, "rows": {0: "batch"}},
            opset_version=17,
            dynamo=False,  # the tracing exporter gives the graph that ONNX Runtime's fusions know
        )
    max_tokens = min(MAX_TOKENS, int(model.max_seq_length or MAX_TOKENS))
    backend.no_padding()
    backend.enable_truncation(max_tokens)
    backend.save(str(folder / "tokenizer.json"))
    expected = model.encode(list(CHECK_TEXTS), normalize_embeddings=True, prompt=prompt or None)
    checks = [backend.encode(prompt + text).ids for text in CHECK_TEXTS]
    plain = _cosine(raw, checks, expected)
    if plain < 0.999:
        raise ValueError(f"the exported graph differs from the model (mean cosine {plain:.4f})")
    target = folder / "model.onnx"
    cosine = 0.0
    if not float32:
        quantise(raw, target, [backend.encode(prompt + text).ids for text in CALIBRATION_TEXTS])
        cosine = _cosine(target, checks, expected)
    quantised = cosine >= MIN_COSINE
    if quantised:
        raw.unlink()
    else:
        raw.replace(target)
    _put_weights_aside(target)
    meta = {
        "source": source,
        "dimensions": int(expected.shape[1]),
        "max_tokens": max_tokens,
        "prompt": prompt,
        "quantised": quantised,
        "cosine": round(cosine if quantised else plain, 4),
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")
    return meta


def _put_weights_aside(graph: Path) -> None:
    """Move large constants into a file of their own, which ONNX Runtime maps and does not copy.

    Of the word embeddings, four fifths of the file, only the rows in use are then in memory, and processes on
    one machine share them. It also loads three times as fast.
    """
    model = onnx.load(str(graph))
    graph.unlink()
    onnx.save(model, str(graph), save_as_external_data=True, location="weights.bin", size_threshold=4_096)


def _cosine(graph: Path, windows: list[list[int]], expected: np.ndarray[Any, Any]) -> float:
    """Mean cosine of a graph's rows, in one padded batch and one by one, with what torch gives."""
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    longest = max(map(len, windows))
    ids = np.zeros((len(windows), longest), np.int64)
    mask = np.zeros_like(ids)
    for row, window in enumerate(windows):
        ids[row, : len(window)] = window
        mask[row, : len(window)] = 1
    rows = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
    alone = [
        session.run(None, {"input_ids": ids[i : i + 1, :n], "attention_mask": mask[i : i + 1, :n]})[0][0]
        for i, n in enumerate(map(len, windows))
    ]
    return float(min((rows * expected).sum(1).mean(), (np.array(alone) * expected).sum(1).mean()))


if __name__ == "__main__":
    export(sys.argv[1], Path(sys.argv[2]), float32="--float32" in sys.argv[3:])
