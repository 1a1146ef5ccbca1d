"""A run of seconds: small colour clips and skeletons of synthetic recordings."""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.name = "small"
    config.streams = ("rgb", "skeleton")
    config.dataset.name = "synthetic_mhad"
    config.synthetic.trials = 1
    config.synthetic.height, config.synthetic.width = 48, 64
    config.clip.num_frames = 4
    config.clip.resize, config.clip.crop = 40, 32
    config.clip.skeleton_frames = 8
    config.clip.inertial_frames = 12
    config.model.video.depth, config.model.video.width = 10, 4
    config.model.skeleton.features = 16
    config.model.skeleton.motion_scale = 1.0  # 8 frames are further apart than 48
    config.model.inertial.features = 8
    config.model.fusion.hidden = 16
    config.auxiliary_loss = 0.4
    config.modality_dropout = 0.1
    config.num_epochs = 3
    config.optim.learning_rate = 4e-3
    config.optim.warmup_epochs = 0.5
    config.mixing.cutmix = 0.5
    config.log_steps = 1
    config.checkpoint_epochs = 0.5
    return config
