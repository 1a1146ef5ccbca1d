"""A finished run whose 3D network is made smaller by whole channels, then fine-tuned.

python main.py --config=configs/prune.py --config.prune.workdir=runs/depth_video --workdir=runs/depth_video_pruned

What stands here is all that is given; everything else, recordings and protocol too, is as in that run, which may be of
colour or depth (configs/depth.py:video) alone or a fusion with one of them, and stays as it is. A fusion then learns as
a whole, its streams included. What was before and what is after stands in WORKDIR/pruning.json.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.name = "prune"
    config.prune = ConfigDict()
    config.prune.workdir = ""  # folder of the finished run
    config.prune.keep_parameters = 0.6  # at most this share of the 3D network's parameters
    config.prune.keep_flops = 0.7  # and of its FLOPs
    config.num_epochs = 20
    config.optim = ConfigDict()
    config.optim.learning_rate = 5e-4
    config.optim.warmup_epochs = 1.0
    return config
