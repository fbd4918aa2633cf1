"""SLiM pre-training: a momentum teacher's prototypes for views of several lengths and patches.

  amr-jax pretrain --config=slim:ntu60_xsub --workdir=DIR

The argument is a data set (`amr_jax/data/datasets.py`), or `NAME,runlocal` for a small model and
batch: seconds on two cores. Shared settings: `amr_jax/config/base.py`. The encoder has a form of
its own (`amr_jax/models/encoder.py`), and there is no decoder.
`--config.average=True` of a protocol evaluates the momentum encoder.
"""

import ml_collections

from amr_jax.config import arguments, base, checks
from amr_jax.config.settings import Setting
from amr_jax.data import datasets

MASKS = False

SETTINGS = {
    "head_hidden": Setting(2048, "hidden width of a head", low=1),
    "head_out": Setting(256, "width of what is compared with prototypes", low=1),
    "num_prototypes": Setting(65_536, "prototypes of each head", low=2),
    "local_parts": Setting(
        (2, 4, 4, 8),
        "local views within each global one: T over their frames",
        divides="encoder.num_frames / encoder.patch_len",
        rule=checks.encoder_of_views,
    ),
    "local_min": Setting(
        (0.35, 0.15, 0.15, 0.05),
        "shortest interval of each local view, as a share of the global view's",
        low=0,
        high=1,
        rule=checks.as_many_as_local_parts,
    ),
    "local_max": Setting(
        (0.7, 0.4, 0.4, 0.2),
        "longest interval of each local view",
        above=0,
        high=1,
        rule=checks.as_many_as_local_parts,
    ),
    "view_mirror": Setting(
        (), "the opposite of each joint; (): views are not mirrored", rule=checks.each_joint_once
    ),
    "parts": Setting((), "joints of each body part, for tube masks", rule=checks.parts_of_joints),
    "limbs": Setting(
        (), "joints of trunk, arms, legs, whose bones scale alike", rule=checks.parts_of_joints
    ),
    "bone_change": Setting(0.15, "bones scale by factors within 1 ± this", low=0, below=1),
    "distortion": Setting(
        0.5, "probability of each of mirror, bone lengths and rotation", low=0, high=1
    ),
    "masking": Setting(
        "tube",
        "what is hidden; tube: joints of a body part over a stretch of time",
        choices=("tube", "random"),
    ),
    "mask_ratios": Setting(
        (0.5, 0.9), "least and largest share of a view that is hidden", above=0, below=1, length=2
    ),
    "student_temperature": Setting(0.1, "of the student's softmax", above=0),
    "teacher_temperature_start": Setting(0.04, "of the teacher's softmax at first", above=0),
    "teacher_temperature": Setting(0.07, "of the teacher's softmax", above=0),
    "teacher_warmup": Setting(
        0.2, "share of the training in which the teacher's temperature rises", low=0, high=1
    ),
    "sinkhorn_iterations": Setting(3, "that balance the teacher's targets", low=1),
    "class_weight": Setting(1.0, "weight of the loss of class tokens", low=0),
    "koleo_weight": Setting(0.1, "weight of the spread of class tokens", low=0),
    "patch_weight": Setting(1.0, "weight of the loss of patches", low=0),
    **base.MOMENTUM,
    "momentum_start": base.with_default(base.MOMENTUM["momentum_start"], 0.994),
}

# The form of the encoder, and AdamW's settings, whatever the data set.
ALWAYS = {
    "augment.min_frames": 1,  # shares of a clip, however short it is
    "encoder.position": "rotary",
    "encoder.class_token": True,
    "encoder.registers": 4,
    "encoder.mask_token": True,
    "encoder.mlp": "swiglu",
    "optim.b2": 0.999,
    "optim.weight_decay": 0.04,
    "optim.weight_decay_end": 0.2,
    "optim.clip_norm": 3.0,
    "optim.embed_scale": 0.2,
    "optim.freeze_epochs": 1.0,
}

# 150 epochs of 1,250 steps of 768 bodies, of which an epoch of NTU-60 has about 47,000; the
# learning rate is 2e-4 · √(768 / 1024).
PUBLISHED = {
    "": {
        "epochs": 3_000,
        "batch_size": 768,
        "optim.lr": 1.73e-4,
        "optim.warmup_epochs": 400,
    }
}

PATCHES_IN_TIME = 8


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for a data set and options (`amr_jax/data/datasets.py`)."""
    config = base.pretraining("slim", argument)
    layout = datasets.get(config.dataset).layout
    small = base.is_small(config.dataset) or arguments.read(argument).runlocal
    config.update_from_flattened_dict(ALWAYS)
    if not base.small_model(config.dataset):
        config.encoder.num_frames = 64
    config.encoder.patch_len = config.encoder.num_frames // PATCHES_IN_TIME
    config.model.view_mirror = layout.mirrored
    config.model.parts, config.model.limbs = layout.chains, layout.limbs
    if small:
        config.model.head_hidden = 8 * config.encoder.width
        config.model.head_out = config.encoder.width
        config.model.num_prototypes = 1_024
        # With a hundredth of the steps, 0.994 would keep the teacher near its start.
        config.model.momentum_start = 0.99
    return config
