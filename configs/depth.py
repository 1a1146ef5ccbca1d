"""Depth video alone: a narrow 3D ResNet-18 on 16 frames of 64 x 64 around the person, which 2 CPU cores can train.

python main.py --config=configs/depth.py --config.dataset.raw_dir=UTD-MHAD

Subjects 1, 3 and 5 train, 7 tests (`--config.protocol=loso:7`): top-1 75.9 % of 108 recordings, one seed; 31 minutes on
one CPU core.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.name = "depth"
    config.streams = ("depth",)
    config.num_epochs = 60
    config.optim.learning_rate = 2e-3
    config.clip.crop = 64
    config.model.video.width = 32
    config.model.video.motion_scale = 2.0
    config.mixing.cutmix = 0.0
    config.ema_decay = 0.99
    return config
