"""Skeletons alone: four small networks, two of joints and two of bones, whose logits are averaged.

Each reads positions and motion: a temporal convolution of stride 2, two bidirectional LSTM layers, mean and maximum.

python main.py --config=configs/skeleton.py --config.dataset.raw_dir=UTD-MHAD
python main.py --config=configs/skeleton.py:plain      two LSTM layers on the joints' positions, and nothing else

Each of subjects 1, 3, 5 and 7 left out in turn: top-1 97.96 % of 431 recordings, mean of five seeds (std 0.25), by
`python -m hartx.sweep --config=configs/skeleton.py --protocol=loso --seeds=5`, while its parameters were averaged.
Without joints that are hidden and limbs that are scaled in training (`:members`) it was 97.54 % (std 0.21), averaged or
not, with two networks besides (`:average`) 96.94 % (std 0.48). On four people it learns for 5 minutes on two cores (AMD
EPYC), with 1.1 GiB.

The steps between the two are variants as well, each with all before it: plain, bidirectional, pooling, motion, bones,
stem, geometry, shape, noise, crop, elastic, smoothing, mixup, decay, average, no_average, members, joint_dropout,
limb_scale. `no_average` takes back what brings nothing. `limb_scale`, the last step, is the default and adds nothing to
the config's name; `members` is what fusions with the sensor take; before it there are two networks, from `bones` on.
"""

from ml_collections import ConfigDict

from configs import base

# From the plain network to the best one, one change a step: the rows of the ablation in docs/results.md.
STEPS = {
    "plain": {
        "model.skeleton.descriptions": (("joints",),),
        "model.skeleton.bidirectional": False,
        "model.skeleton.pooling": "last",
        "model.skeleton.stem_strides": (),
        "augment.rotation_degrees": 0.0,
        "augment.turn_degrees": 0.0,
        "augment.body_scale": 0.0,
        "augment.skeleton_jitter": 0.0,
        "augment.temporal_crop": 0.0,
        "label_smoothing": 0.0,
        "mixing.mixup": 0.0,
    },
    "bidirectional": {"model.skeleton.bidirectional": True},
    "pooling": {"model.skeleton.pooling": "mean_max"},
    "motion": {"model.skeleton.descriptions": (("joints", "joint_motion"),)},
    "bones": {"model.skeleton.descriptions": (("joints", "joint_motion"), ("bones", "bone_motion"))},
    "stem": {"model.skeleton.stem_strides": (2,)},
    "geometry": {"augment.rotation_degrees": 10.0, "augment.turn_degrees": 25.0, "augment.body_scale": 0.15},
    "shape": {"augment.tilt_degrees": 10.0, "augment.body_stretch": 0.1, "augment.body_shear": 0.05},
    "noise": {"augment.skeleton_jitter": 0.02},
    "crop": {"augment.temporal_crop": 0.2},
    "elastic": {"augment.temporal_elastic": 0.2},
    "smoothing": {"label_smoothing": 0.1},
    "mixup": {"mixing.mixup": 0.2},
    "decay": {"optim.weight_decay": 0.02},
    "average": {"ema_decay": 0.995},
    "no_average": {"ema_decay": 0.0},
    "members": {"model.skeleton.members": 2},
    "joint_dropout": {"augment.joint_dropout": 0.1},
    "limb_scale": {"augment.limb_scale": 0.1},
}


def get_config(variant: str = "limb_scale") -> ConfigDict:
    if variant not in STEPS:
        raise ValueError(f"configs/skeleton.py:{variant} was given; one of {', '.join(STEPS)} is expected")
    config = base.get_config()
    config.name = "skeleton"
    config.streams = ("skeleton",)
    config.num_epochs = 150
    config.checkpoint_epochs = 25.0  # an epoch takes a second or two, a checkpoint one more
    config.optim.learning_rate = 2e-3
    config.mixing.cutmix = 0.0
    for step, changes in STEPS.items():
        config.update_from_flattened_dict(changes)
        if step == variant:
            break
    if variant != "limb_scale":
        config.name += f"_{variant}"
    return config
