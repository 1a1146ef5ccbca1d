"""Skeletons alone: temporal convolution, two bidirectional LSTM layers, mean and max pooling.

python main.py --config=configs/skeleton.py --config.dataset.raw_dir=UTD-MHAD
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.name = "skeleton"
    config.streams = ("skeleton",)
    config.num_epochs = 120
    config.optim.learning_rate = 2e-3
    config.mixing.mixup = 0.0
    config.mixing.cutmix = 0.0
    return config
