"""Models for images: the only place in workers.image that imports torch, ONNX Runtime, OpenVINO or FAISS."""
