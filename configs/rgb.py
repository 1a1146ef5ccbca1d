"""Colour video alone: 3D ResNet-18 on 16 frames of 224 x 224.

    python main.py --config=configs/rgb.py --config.dataset.raw_dir=UTD-MHAD
    python main.py --config=configs/rgb.py:small    3D ResNet-10, narrower, on 16 frames of 96 x 96

33.2 M parameters, 25.5 GFLOPs a clip: made for a GPU or TPU. `small` is made for a CPU, and for clips of one's own
(datasets/video_folder): 2.1 M parameters, 1.7 GFLOPs. Neither was measured on recordings of people.
"""

from ml_collections import ConfigDict

from configs import base

VARIANTS = ("full", "small")


def get_config(variant: str = "full") -> ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"configs/rgb.py:{variant} was given; one of {', '.join(VARIANTS)} is expected")
    config = base.get_config()
    config.name = "rgb"
    config.streams = ("rgb",)
    if variant == "small":
        config.name = "rgb_small"
        config.num_epochs = 40
        config.clip.resize, config.clip.crop = 112, 96
        config.model.video.depth, config.model.video.width = 10, 24
        config.model.video.motion_scale = 2.0
        config.mixing.cutmix = 0.0
        config.optim.learning_rate = 2e-3
        config.optim.weight_decay = 0.01
    return config
