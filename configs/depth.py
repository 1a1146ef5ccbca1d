"""Depth alone: the joints are found in each frame, then read as the skeleton's network reads recorded ones.

python main.py --config=configs/depth.py --config.dataset.raw_dir=UTD-MHAD
python main.py --config=configs/depth.py:video   a narrow 3D ResNet-10 on 32 frames, as configs/prune.py takes it

24 frames of 64 x 64 around the person. Training needs the skeletons that were recorded beside the depth, testing and
the device do not. The body is turned, tilted, stretched and sheared in space, since there are few people to learn from.

Each of subjects 1, 3, 5 and 7 left out in turn: top-1 93.50 % of 431 recordings, with either of two seeds. On subject 7
(108 recordings) it is 98.15 %, mean of three, where `video` reaches 85.2 % (one seed). 120 epochs
(--config.num_epochs=120), 1.6 times the steps, had 93.0 % of the 215 of subjects 1 and 5 (one seed), where
these 75 have 90.2 % (both with three views a recording). On four people it learns for 12 minutes on two cores (AMD
EPYC).
"""

from ml_collections import ConfigDict

from configs import base

RECIPES = {
    "pose": {
        "name": "depth",
        "num_epochs": 75,
        "optim.learning_rate": 3e-3,
        "optim.weight_decay": 0.02,
        "clip.num_frames": 24,
        "augment.temporal_elastic": 0.2,
    },
    "video": {
        "name": "depth_video",
        "num_epochs": 45,
        "optim.learning_rate": 2e-3,
        "optim.weight_decay": 0.01,
        "clip.views": 3,
        "clip.num_frames": 32,  # with fewer, half of which reach the first stage, a clap is no clap
        "augment.temporal_elastic": 0.25,
        "model.video.depth": 10,
        "model.video.width": 32,
        "model.video.motion_scale": 2.0,
        "model.video.time_strides": (2, 1, 1, 2, 2, 2),
    },
}


def get_config(variant: str = "pose") -> ConfigDict:
    if variant not in RECIPES:
        raise ValueError(f"configs/depth.py:{variant} was given; one of {', '.join(RECIPES)} is expected")
    config = base.get_config()
    config.streams = ("depth",)
    config.model.depth_members = (variant,)
    config.clip.crop = 64
    config.clip.extent_m = 2.1
    config.augment.turn_degrees = 30.0
    config.augment.tilt_degrees = 12.0
    config.augment.body_stretch = 0.12
    config.augment.body_shear = 0.08
    config.augment.depth_noise = 0.02
    config.mixing.cutmix = 0.0
    config.update_from_flattened_dict(RECIPES[variant])
    return config
