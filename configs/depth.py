"""Depth video alone: a narrow 3D ResNet-10 on 32 frames of 64 x 64 around the person, which 2 CPU cores can train.

python main.py --config=configs/depth.py --config.dataset.raw_dir=UTD-MHAD

Twice as many frames as elsewhere, half of which reach the first stage: with fewer, a clap is no clap. The body is
turned, tilted, stretched and sheared in space, since there are few people to learn from.

Subjects 1, 3 and 5 train, 7 tests (`--config.protocol=loso:7`): top-1 85.2 % of 108 recordings, one seed; 37 minutes on
one CPU core with other work beside it. On two free cores a step of 16 clips takes 1.05 s on a machine on which that run
took 2.4 s a step, which makes 21 minutes for 431 recordings.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.name = "depth"
    config.streams = ("depth",)
    config.num_epochs = 45
    config.optim.learning_rate = 2e-3
    config.optim.weight_decay = 0.01
    config.clip.num_frames = 32
    config.clip.views = 3
    config.clip.crop = 64
    config.clip.extent_m = 2.1
    config.model.video.depth = 10
    config.model.video.width = 32
    config.model.video.motion_scale = 2.0
    config.model.video.time_strides = (2, 1, 1, 2, 2, 2)
    config.augment.turn_degrees = 30.0
    config.augment.tilt_degrees = 12.0
    config.augment.body_stretch = 0.12
    config.augment.body_shear = 0.08
    config.augment.temporal_elastic = 0.25
    config.augment.depth_noise = 0.02
    config.mixing.cutmix = 0.0
    config.ema_decay = 0.99
    return config
