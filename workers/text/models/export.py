"""Export of a sentence-transformers model to ONNX, quantised to int8.

Run as a child process (`python -m workers.text.models.export SOURCE FOLDER`), so that a worker never holds
torch. Writes model.onnx, weights.bin, tokenizer.json and meta.json.

The graph takes int64 `input_ids` and `attention_mask`, both (batch, length), and gives float32 unit rows
(batch, d): pooling and normalising are part of it. A second output, `middle`, (batch, e), holds unit rows of
the middle layers, which know of tone and urgency what the last has forgotten. The matrix products are in int8
(see quantise.py) where that keeps the rows.
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

EXPORT_VERSION: Final = "5"
"""Part of the cache key: raise it when what is written changes."""

MAX_TOKENS: Final = 256
"""The longest window, in tokens; longer texts are cut into windows."""

FEWEST_LAYERS: Final = 4
"""Layers below which none of them is in the middle."""

MIN_COSINE: Final = 0.98
"""Mean cosine against torch below which the quantised model is not used and float32 is kept."""


def export(source: str, folder: Path, *, float32: bool = False) -> dict[str, Any]:
    """Export `source`, a sentence-transformers name or folder, into `folder`.

    Args:
        source: what to export.
        folder: where to.
        float32: leave the matrix products as they are, for a GPU.

    Returns:
        What meta.json holds: dimensions, middle (e; 0 where the model shows no layers), max_tokens, prompt,
        quantised, cosine (mean, against torch).
    """
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(source, device="cpu", model_kwargs={"attn_implementation": "eager"})
    model.eval()
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ValueError("the model has no fast tokenizer")
    prompt = (model.prompts or {}).get(model.default_prompt_name or "", "") or ""

    sample = torch.randint(5, 900, (2, 7))
    mask = torch.ones_like(sample)
    mask[1, 5:] = 0
    shape = {0: "batch", 1: "length"}
    raw = folder / "raw.onnx"
    graph = _graph_of(model)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = graph(sample, mask)
        names = ["rows", "middle"][: len(found)]
        torch.onnx.export(
            graph,
            (sample, mask),
            str(raw),
            input_names=["input_ids", "attention_mask"],
            output_names=names,
            dynamic_axes={"input_ids": shape, "attention_mask": shape}
            | {name: {0: "batch"} for name in names},
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
        "middle": int(found[1].shape[1]) if len(found) > 1 else 0,
        "max_tokens": max_tokens,
        "prompt": prompt,
        "quantised": quantised,
        "cosine": round(cosine if quantised else plain, 4),
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")
    return meta


def _graph_of(model: Any) -> Any:
    """The module that is exported: ids and mask to unit rows, and to those of the middle layers."""
    import torch

    config: Any = getattr(getattr(model[0], "model", None), "config", None)
    if hasattr(config, "output_hidden_states"):
        config.output_hidden_states = True

    class Rows(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
            found = self.model({"input_ids": input_ids, "attention_mask": attention_mask})
            rows = _unit(found["sentence_embedding"])
            layers = (found.get("all_layer_embeddings") or ())[1:]
            if len(layers) < FEWEST_LAYERS:
                return (rows,)
            kept = attention_mask.unsqueeze(-1).to(rows.dtype)
            total: Any = sum(layers[len(layers) // 2 - 1 : -1])
            return rows, _unit((total * kept).sum(dim=1))

    def _unit(rows: torch.Tensor) -> torch.Tensor:
        return rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)

    return Rows()


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
