"""Every field an experiment has, with its default. Not an experiment itself: the others start from it.

A field is overridden on the command line as `--config.optim.learning_rate=3e-4`.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.name = "base"
    config.seed = 0
    config.streams = ("skeleton",)  # any of rgb, depth, skeleton, inertial
    config.protocol = "cross_subject"  # cross_subject, loso:K, loso:K+L, random80:SEED
    config.validation_subject = 0  # a training subject held out to select the best checkpoint; 0: none

    config.dataset = ConfigDict()
    config.dataset.name = "auto"  # utd_mhad (auto with a raw_dir), synthetic_mhad (without), video_folder
    config.dataset.raw_dir = ""  # recordings as the authors publish them: folders or zips; video_folder: CLASS/CLIP
    config.dataset.data_dir = ""  # where prepared datasets are kept; "": TFDS_DATA_DIR or ~/tensorflow_datasets
    config.dataset.allow_partial = False  # go on with the sound recordings where some are damaged or missing
    config.dataset.cache_gib = 2.0  # recordings kept in memory, undecoded, up to this size
    config.dataset.num_workers = 0  # processes that prepare clips; 0: threads of this process

    config.synthetic = ConfigDict()  # what synthetic_mhad consists of
    config.synthetic.trials = 4
    config.synthetic.height = 256  # the authors' are 480 x 640, which takes four times as long to draw
    config.synthetic.width = 340
    config.synthetic.seed = 0

    config.clip = ConfigDict()
    config.clip.num_frames = 16  # video frames
    config.clip.sampling = "uniform"  # uniform: over the whole recording; window: num_frames at a stride
    config.clip.strides = (1, 2)  # window: drawn from these in training; the first one at test
    config.clip.views = 1  # clips a recording whose predictions are averaged at test
    config.clip.resize = 256  # rgb: crop / resize of the shorter side is seen
    config.clip.crop = 224  # rgb, depth: side of the network's input in pixels
    config.clip.extent_m = 2.4  # depth: side of the square around the person
    config.clip.range_m = 0.8  # depth: told apart before and behind the person's middle
    config.clip.skeleton_frames = 48
    config.clip.skeleton_layout = "kinect25"
    config.clip.inertial_frames = 64

    config.augment = ConfigDict()  # random draws in training; 0 (or False) switches one off
    config.augment.temporal_crop = 0.2  # uniform: up to this share of a recording is cut away
    config.augment.temporal_jitter = True  # uniform: frames anywhere in their segment
    config.augment.temporal_elastic = 0.0  # speed within a clip: between 1 - this and 1 + this, of the mean
    config.augment.temporal_mask_ratio = 0.0  # share of a clip's frames that are blanked, at once in all modalities
    config.augment.temporal_masks = 2  # in so many spans
    config.augment.flip = False  # mirrors everything; off where labels are handed
    config.augment.rotation_degrees = 10.0  # in the image plane, in all modalities but inertial
    config.augment.turn_degrees = 25.0  # the body in space, depth and skeleton alike: about the vertical
    config.augment.tilt_degrees = 0.0  # about the left-right axis
    config.augment.body_scale = 0.15
    config.augment.body_stretch = 0.0  # x, y and z, each on its own
    config.augment.body_shear = 0.0  # of each axis in each other one
    config.augment.color_jitter = (0.2, 0.2, 0.2, 0.1)  # brightness, contrast, saturation, hue
    config.augment.rgb_scale = (1.0, 1.0)  # area of the crop: smallest and largest, of what the device sees
    config.augment.depth_shift = 0.08  # of the square's side
    config.augment.depth_noise = 0.0  # on the body, in units of clip.range_m
    config.augment.depth_erase = 0.0  # sides of a box set to background: up to this share of the square's
    config.augment.limb_scale = 0.0  # length of each bone, left and right alike
    config.augment.joint_dropout = 0.0  # how often a joint is not seen in a whole clip
    config.augment.skeleton_jitter = 0.01  # torso lengths, per joint and frame
    config.augment.inertial_rotation_degrees = 0.0  # of the sensor, about any axis
    config.augment.inertial_scale = 0.0
    config.augment.inertial_jitter = 0.0  # of the clip's own root mean square, per sample

    config.mixing = ConfigDict()
    config.mixing.mixup = 0.2  # Beta(a, a); 0: off
    config.mixing.cutmix = 1.0  # Beta(a, a); 0: off
    config.mixing.cutmix_share = 0.5  # of the samples that get cutmix where both are on

    config.model = ConfigDict()
    config.model.dtype = "float32"  # of convolutions over frames and clips; or bfloat16. Parameters are float32
    config.model.video = ConfigDict()
    config.model.video.depth = 18  # 10, 18, 34, 50
    config.model.video.width = 64
    config.model.video.dropout = 0.5
    config.model.video.motion_scale = 0.0  # factor on the differences between frames; 0: they are not read
    config.model.video.time_strides = (2, 2, 1, 2, 2, 2)  # of the stem, the pool and the four stages
    config.model.video.zero_init_last_bn = False
    config.model.depth_members = ("video",)  # what reads depth: video (the 3D network), pose (joints), or both
    config.model.pose = ConfigDict()  # joints found in depth; what reads them is as model.skeleton says
    config.model.pose.width = 32  # channels of the first layers
    config.model.pose.motion_scale = 5.0  # as model.skeleton.motion_scale
    config.model.skeleton = ConfigDict()
    config.model.skeleton.layers = 2
    config.model.skeleton.features = 256  # shared between the networks of the descriptions
    config.model.skeleton.members = 1  # networks of each description, which begin and err differently
    config.model.skeleton.bidirectional = True
    config.model.skeleton.descriptions = (("joints", "joint_motion"), ("bones", "bone_motion"))  # what each reads
    config.model.skeleton.motion_scale = 8.0  # factor on the motions, which are small beside the positions
    config.model.skeleton.stem_width = 5  # temporal convolutions before the LSTM
    config.model.skeleton.stem_strides = (2,)  # one convolution a number; (): none
    config.model.skeleton.pooling = "mean_max"  # mean_max or last
    config.model.skeleton.dropout = 0.5
    config.model.inertial = ConfigDict()
    config.model.inertial.members = 2  # networks alike, which begin and err differently
    config.model.inertial.layers = 2
    config.model.inertial.features = 256  # shared between the members
    config.model.inertial.bidirectional = True
    config.model.inertial.stem_width = 5
    config.model.inertial.stem_strides = (2, 2)
    config.model.inertial.pooling = "mean_max"
    config.model.inertial.dropout = 0.5
    config.model.fusion = ConfigDict()
    config.model.fusion.hidden = 512
    config.model.fusion.dropout = 0.5
    config.model.fusion.weights = ConfigDict()  # of the streams' own logits in their mean
    config.model.fusion.weights.rgb = 1.0
    config.model.fusion.weights.depth = 1.0
    config.model.fusion.weights.skeleton = 1.0
    config.model.fusion.weights.inertial = 1.0

    config.batch_size = 16  # over all devices
    config.num_epochs = 100
    config.accumulate = 1  # a step's batch is computed in this many pieces
    config.label_smoothing = 0.1
    config.auxiliary_loss = 0.0  # weight of the own classifiers of a fusion's streams, where all learn together
    config.joint_loss = 40.0  # weight of the error of the joints found in depth, in sides of the square
    config.modality_dropout = 0.0  # how often a stream of a fusion is blanked in training
    config.ema_decay = 0.0  # moving average over some 1 / (1 - this) steps, used at test; 0: off

    # Stream to what its own run, which comes first, has other than this config; then the streams stay as they
    # are and only the fusion learns. Empty: everything learns together.
    config.pretraining = ConfigDict()
    config.streams_dir = ""  # where these runs are, found by what they compute; "": WORKDIR/streams

    config.optim = ConfigDict()
    config.optim.learning_rate = 1e-3
    config.optim.weight_decay = 1e-4  # not on norms and biases
    config.optim.warmup_epochs = 5.0
    config.optim.clip_norm = 1.0

    config.checkpoint_epochs = 5.0
    config.log_steps = 10
    config.eval_checkpoint = "last"  # last or best
    return config


def differences(config: ConfigDict, other: ConfigDict) -> ConfigDict:
    """Return the fields of `config` whose values `other` does not share."""
    found = ConfigDict()
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            if inner := differences(value, other[key]):
                found[key] = inner
        elif value != other[key]:
            found[key] = value
    return found
