"""Skeletons alone: joints, bones and their motion, a temporal convolution of stride 2, two bidirectional LSTM layers.

python main.py --config=configs/skeleton.py --config.dataset.raw_dir=UTD-MHAD

Each of subjects 1, 3, 5 and 7 left out in turn: top-1 97.68 % of 431 recordings, one seed; 4 minutes on one CPU core
(`python -m hartx.sweep --config=configs/skeleton.py --protocol=loso --seeds=1`).
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.name = "skeleton"
    config.streams = ("skeleton",)
    config.num_epochs = 150
    config.optim.learning_rate = 2e-3
    config.mixing.cutmix = 0.0
    config.augment.skeleton_jitter = 0.02
    config.ema_decay = 0.995
    return config
