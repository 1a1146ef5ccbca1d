"""Video and skeleton, fused: 512 + 256 features -> 512 -> actions.

python main.py --config=configs/fusion.py             rgb: colour at 16 x 224 x 224, for a GPU or TPU
python main.py --config=configs/fusion.py:depth       depth at 16 x 64 x 64, for 2 CPU cores
python main.py --config=configs/fusion.py:demo        a small colour network on small synthetic recordings, minutes

depth: subjects 1, 3 and 5 train, 7 tests (`--config.protocol=loso:7`): top-1 93.5 %, one seed, 108 recordings;
33 minutes on 2 CPU cores that also ran other work.
"""

from ml_collections import ConfigDict

from configs import depth, rgb

VARIANTS = ("rgb", "depth", "demo")


def get_config(variant: str = "rgb") -> ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"configs/fusion.py:{variant} was given; one of {', '.join(VARIANTS)} is expected")
    config = (depth if variant == "depth" else rgb).get_config()
    config.name = f"fusion_{variant}"
    config.streams = ("depth" if variant == "depth" else "rgb", "skeleton")
    config.auxiliary_loss = 0.4
    config.modality_dropout = 0.1
    if variant == "depth":
        config.num_epochs = 80
        config.optim.learning_rate = 2e-3
    if variant == "demo":
        config.dataset.name = "synthetic_mhad"
        config.synthetic.trials = 2
        config.synthetic.height, config.synthetic.width = 96, 128
        config.clip.resize, config.clip.crop = 64, 56
        config.clip.num_frames = 8
        config.clip.skeleton_frames = 24
        config.model.video.depth, config.model.video.width = 10, 16
        config.model.skeleton.features = 128
        config.mixing.cutmix = 0.0
        config.num_epochs = 30
        config.optim.learning_rate = 3e-3
    return config
