"""A finished run goes on from its network: with your own clips and actions, other people, or larger pictures.

python main.py --config=configs/finetune.py --config.finetune.workdir=runs/a --workdir=runs/own \\
  --config.dataset.name=video_folder --config.dataset.raw_dir=clips --config.protocol=cross_subject

What is None below is as in that run, and so is all that does not stand here: the network, the augmentations, the
protocol. Where the actions are others, only the layers that name them begin anew. Recordings that the other run was
trained on are not tested: that is refused. A fusion learns as a whole, its streams included.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.name = "finetune"
    config.finetune = ConfigDict()
    config.finetune.workdir = ""  # folder of the finished run
    config.dataset = ConfigDict()
    config.dataset.name = placeholder(str)
    config.dataset.raw_dir = placeholder(str)
    config.dataset.data_dir = placeholder(str)
    config.dataset.allow_partial = placeholder(bool)
    config.protocol = placeholder(str)
    config.validation_subject = placeholder(int)
    config.clip = ConfigDict()
    config.clip.crop = placeholder(int)
    config.clip.resize = placeholder(int)
    config.seed = placeholder(int)
    config.batch_size = placeholder(int)
    config.checkpoint_epochs = placeholder(float)
    config.num_epochs = 20
    config.optim = ConfigDict()
    config.optim.learning_rate = 3e-4
    config.optim.warmup_epochs = 1.0
    return config
