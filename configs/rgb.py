"""Colour video alone: 3D ResNet-18 on 16 frames of 224 x 224.

    python main.py --config=configs/rgb.py --config.dataset.raw_dir=UTD-MHAD

33.2 M parameters, 25.5 GFLOPs a clip: made for a GPU or TPU.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.name = "rgb"
    config.streams = ("rgb",)
    return config
