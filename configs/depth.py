"""Depth alone: the joints are found in each frame, then read as the skeleton's network reads recorded ones.

python main.py --config=configs/depth.py --config.dataset.raw_dir=UTD-MHAD
python main.py --config=configs/depth.py:video   a narrow 3D ResNet-10 on 32 frames, as configs/prune.py takes it

24 frames of 64 x 64 around the person. Training needs the skeletons that were recorded beside the depth, testing and
the device do not. The body is turned, tilted, stretched and sheared in space, since there are few people to learn from.

Subjects 1, 3 and 5 train, 7 tests (`--config.protocol=loso:7`), one seed: top-1 93.5 % of 108 recordings, where `video`
reaches 85.2 %.
"""

from ml_collections import ConfigDict

from configs import base

VARIANTS = ("pose", "video")


def get_config(variant: str = "pose") -> ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"configs/depth.py:{variant} was given; one of {', '.join(VARIANTS)} is expected")
    config = base.get_config()
    config.name = "depth"
    config.streams = ("depth",)
    config.model.depth_members = (variant,)
    config.num_epochs = 60
    config.optim.learning_rate = 3e-3
    config.optim.weight_decay = 0.02
    config.clip.num_frames = 24
    config.clip.views = 3
    config.clip.crop = 64
    config.clip.extent_m = 2.1
    config.augment.turn_degrees = 30.0
    config.augment.tilt_degrees = 12.0
    config.augment.body_stretch = 0.12
    config.augment.body_shear = 0.08
    config.augment.temporal_elastic = 0.2
    config.augment.depth_noise = 0.02
    config.mixing.cutmix = 0.0
    config.auxiliary_loss = 1.0
    config.ema_decay = 0.99
    if variant == "video":
        config.name = "depth_video"
        config.num_epochs = 45
        config.optim.learning_rate = 2e-3
        config.optim.weight_decay = 0.01
        # With fewer frames, half of which reach the first stage, a clap is no clap.
        config.clip.num_frames = 32
        config.model.video.depth = 10
        config.model.video.width = 32
        config.model.video.motion_scale = 2.0
        config.model.video.time_strides = (2, 1, 1, 2, 2, 2)
        config.augment.temporal_elastic = 0.25
        config.auxiliary_loss = 0.0
    return config
