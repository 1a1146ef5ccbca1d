"""Networks: each a function of arrays that knows nothing of datasets, files or flags."""

from hartx.models.fusion import Fusion, ModelOutput, SingleStream
from hartx.models.registry import create_model
from hartx.models.resnet3d import ResNet3D
from hartx.models.sequence_lstm import SequenceLSTM
from hartx.models.skeleton_lstm import SkeletonLSTM

__all__ = ["Fusion", "ModelOutput", "ResNet3D", "SequenceLSTM", "SingleStream", "SkeletonLSTM", "create_model"]
