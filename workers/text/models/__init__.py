"""Models for text: the only place in workers.text that imports torch or ONNX Runtime."""
