"""Models for text: the only place in workers.text that imports torch or ONNX Runtime."""

from workers.text.models.sentence import BUNDLED_NAME, SentenceEncoder, Window

__all__ = ["BUNDLED_NAME", "SentenceEncoder", "Window"]
