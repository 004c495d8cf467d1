"""The image models: the only place of this package that imports torch, ONNX Runtime, OpenVINO or FAISS."""

from workers.image.models.backbone import LITE0, Backbone, load_backbone, resized
from workers.image.models.flat_index import FlatIndex
from workers.image.models.index_trial import Rows
from workers.image.models.indexes import FLAT_BELOW, create_index, load_index
from workers.image.models.large_index import LargeIndex
from workers.image.models.patch_index import PatchIndex

__all__ = [
    "FLAT_BELOW",
    "LITE0",
    "Backbone",
    "FlatIndex",
    "LargeIndex",
    "PatchIndex",
    "Rows",
    "create_index",
    "load_backbone",
    "load_index",
    "resized",
]
