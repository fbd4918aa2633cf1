"""The settings of pre-training that methods share.

Data, encoder, size of the mask, sizes of the decoder and optimiser are defined here once.
configs/NAME.py adds the settings of one method. Protocols are in evaluation.py, comparisons in
comparison.py.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import ml_collections

from amr_jax.config import arguments, checks, files, settings, sizes
from amr_jax.config.settings import Setting, Tree
from amr_jax.data import datasets

# packed: the mean over the bodies present; all, as in published code: the mean over all slots, with
# absent bodies encoded as zeros.
BODIES = ("packed", "all")
SECOND_BODY = ("zeros", "repeat")
STREAMS = ("joint", "bone", "motion")
KERNELS = ("xla", "blocks", "cudnn", "fused")
DTYPES = ("float32", "bfloat16")
WRITERS = ("tensorboard", "wandb", "mlflow")
PRECISIONS = ("highest", "high", "default")
BODY_FRAMES = ("first", "mean", "yaw")

ADAM = {
    "weight_decay": Setting(0.05, "weight decay of AdamW", low=0),
    "decay_on": Setting(
        "kernels",
        "what decays; all, as published: whatever is no bias or norm, also embeddings and tokens",
        choices=("kernels", "all"),
    ),
    "b1": Setting(0.9, "decay of AdamW's first moment", low=0, below=1),
    "b2": Setting(0.95, "decay of AdamW's second moment", low=0, below=1),
    "clip_norm": Setting(None, "largest norm of a gradient; None: no clipping", float, above=0),
}

AUGMENT: Tree = {
    "max_fraction": Setting(1.0, "longest crop, as a fraction of the frames", above=0, high=1),
    "min_fraction": Setting(0.5, "shortest crop", low=0, high="augment.max_fraction"),
    "min_frames": Setting(64, "shortest crop in frames, if the clip is as long", low=1),
    "max_angles": Setting(
        (0.3, 0.3, 0.3),
        "bounds of a random rotation about x, y and z, in radians",
        low=0,
        length=3,
        rule=checks.about_z_in_an_image,
    ),
}

ENCODER: Tree = {
    "num_frames": Setting(120, "T, frames of a clip", low=1),
    "num_joints": Setting(25, "V, joints of the data set", low=1),
    "channels": Setting(3, "C, numbers per joint", low=1),
    "confidence": Setting(False, "the last channel is a confidence: seen, not predicted"),
    "patch_len": Setting(4, "l, frames of a patch", divides="encoder.num_frames"),
    "position": Setting(
        "grid",
        "how a patch's place is told; grid: learned embeddings of time and joint; rotary: of the "
        "joint, and time as a rotation of queries and keys: clips of any length",
        choices=("grid", "rotary"),
        rule=checks.even_heads_if_rotary,
    ),
    "class_token": Setting(False, "a learned token in front of the patches, for methods"),
    "registers": Setting(0, "further learned tokens in front, which nothing reads", low=0),
    "mask_token": Setting(False, "a learned token for hidden patches, for methods"),
    "width": Setting(256, "features of a token", low=1),
    "depth": Setting(8, "transformer blocks", low=1),
    "num_heads": Setting(8, "attention heads", divides="encoder.width"),
    "mlp": Setting(
        "gelu",
        "MLP of a block; swiglu: gated, with two thirds of the hidden width",
        choices=("gelu", "swiglu"),
    ),
    "mlp_ratio": Setting(4.0, "hidden width of an MLP over the width", above=0),
    "drop_path": Setting(0.0, "stochastic depth of the last block", low=0, below=1),
    "patch_init": Setting(
        "xavier",
        "initial patch embedding; torch, as published: uniform within 1/√(l·C), its bias too",
        choices=("xavier", "torch"),
    ),
    "residual_dtype": Setting(
        "compute",
        "dtype of the tokens between branches, in encoder and decoder; compute: that of "
        "config.dtype",
        choices=("compute", "float32"),
    ),
}

MODEL: Tree = {
    "mask_ratio": Setting(0.9, "share of the patches that is hidden", above=0, below=1),
    "num_visible": Setting(
        None,
        "visible patches; None: N · (1 - mask_ratio), rounded",
        int,
        low=1,
        rule=checks.some_visible,
    ),
    "round_visible": Setting(
        "nearest",
        "rounding of the visible patches; down, as published: int(750 · (1 - 0.9)) is 74",
        choices=("nearest", "down"),
    ),
    "masking": Setting(
        "random",
        "how hidden patches are drawn",
        choices=("random", "motion_aware"),
        rule=checks.two_times_if_motion_aware,
    ),
    "tau": Setting(0.8, "temperature of motion-aware masking", above=0),
    "decoder_width": Setting(256, "features of a token in the decoder", low=1),
    "decoder_depth": Setting(5, "transformer blocks of the decoder", low=1),
    "decoder_heads": Setting(8, "attention heads of the decoder", divides="model.decoder_width"),
    "decoder_mlp_ratio": Setting(4.0, "hidden width of a decoder's MLP over its width", above=0),
}

# For methods that reconstruct joints or their motion; each sets its own defaults.
TARGET: Tree = {
    "target": Setting("joint", "what is predicted", choices=("joint", "motion")),
    "normalisation": Setting(
        "patch",
        "how a target is normalised: over its patch; each axis over all frames or the patch's; by "
        "the body's mean amplitude, which keeps what joints and times differ in",
        choices=("none", "patch", "timestamps", "patch_timestamps", "body"),
        rule=checks.frames_if_patch_timestamps,
    ),
    "motion_stride": Setting(
        1, "frames that a motion target spans", low=1, below="encoder.num_frames"
    ),
}

# For methods with mask tokens; the AMR paper's baselines are settings of them.
MASK_TOKENS: Tree = {
    **TARGET,
    "pool": Setting(
        1,
        "patches in time that the decoder averages over (downsampling)",
        divides="encoder.num_frames / encoder.patch_len",
    ),
    "num_decoded": Setting(
        None,
        "hidden patches that are decoded (decoder masking); None: all",
        int,
        low=1,
        rule=checks.hidden_and_not_pooled,
    ),
}

# For methods with a momentum encoder.
MOMENTUM: Tree = {
    "momentum_start": Setting(0.996, "momentum of the average at the first step", low=0, high=1),
    "momentum_end": Setting(1.0, "momentum of the average at the last step", low=0, high=1),
}

# A key of pre-training and of evaluation.
LOGGED_BY = Setting(
    ("tensorboard",),
    "what receives metrics and pictures, beside metrics.jsonl",
    choices=WRITERS,
    rule=checks.installed,
)

PRETRAINING: Tree = {
    "method": Setting(None, "the method", str),
    "dataset": Setting(None, "the data set, or the folder of your own records", str),
    "data_dir": Setting("~/tensorflow_datasets", "folder of the prepared records"),
    "seed": Setting(0, "seed of initial values, order, masks and augmentation"),
    "dtype": Setting(
        "auto",
        "compute dtype; auto: bfloat16 on TPU and GPU, float32 on CPU",
        choices=("auto", *DTYPES),
    ),
    "matmul_precision": Setting(
        "highest",
        "precision of matrix products with dtype=float32; highest: full float32; high, default: "
        "faster on accelerators, which round to fewer bits (TF32, bfloat16)",
        choices=PRECISIONS,
    ),
    "attention_kernel": Setting(
        "auto",
        "implementation of attention; auto: blocks on CPU, xla elsewhere; cudnn: NVIDIA's, on its "
        "GPUs in bfloat16; fused: on TPUs, whose matrices then stay on the chip",
        choices=("auto", *KERNELS),
        rule=checks.bfloat16_if_cudnn,
    ),
    "epochs": Setting(400, "passes over the data", low=1),
    "batch_size": Setting(128, "bodies per step; with input.bodies=all, sequences", low=1),
    "judged": Setting(
        "encoder",
        "what protocols evaluate unless told: the encoder or its moving average",
        choices=("encoder", "average"),
    ),
    "size": Setting(
        None,
        "a record of what chose the sizes: amr:NAME,base, or the number of own sequences; None: "
        "the data set, or the recipe",
        str,
        choices=tuple(sizes.SIZES),
    ),
    "start_from": Setting(
        None,
        "a run of any method whose encoder the training starts from; the encoder's sizes, and what "
        "it sees (input.stream, centre, body_frame), are those of that run",
        str,
    ),
    "fsdp": Setting(1, "devices that share parameters and optimiser state", low=1),
    "input": {
        "split": Setting("train", "the split or a part of it: train[:10%], train[!validation]"),
        "mode": Setting(
            "resident",
            "what is in device memory; resident: the whole split; stream: only the next batches",
            choices=("resident", "stream"),
        ),
        "storage": Setting(
            "int16",
            "type of joints on the devices; int16 is exact to 0.05 mm",
            choices=("int16", "float32"),
        ),
        "bodies": Setting(
            "packed", "all: absent second bodies are encoded, as published", choices=BODIES
        ),
        "second_body": Setting(
            "zeros",
            "replaces an absent second body; repeat: a copy of the first, as MAMP on NTU-120",
            choices=SECOND_BODY,
            rule=checks.all_bodies_if_repeated,
        ),
        "absent_frames": Setting(
            "ignored",
            "frames without the body, or in an image without the joint; ignored: no mask, target, "
            "weight or loss counts them; counted: as motion to the origin and back, as published",
            choices=("ignored", "counted"),
        ),
        "stream": Setting("joint", "representation of clips for encoder and loss", choices=STREAMS),
        "centre": Setting(True, "move the origin to the first actor's centre"),
        "body_frame": Setting(
            "none",
            "turn sequences so that the first actor stands upright and faces the viewer: by the "
            "first frames, the mean of all, or about the vertical only",
            choices=("none", *BODY_FRAMES),
        ),
        "max_frames": Setting(300, "sequences are cut at this many frames", low=1),
        "mixture": Setting(
            "proportional",
            "several sets at once; proportional: each body once an epoch; balanced: the sets take "
            "turns, an epoch is as long",
            choices=("proportional", "balanced"),
        ),
    },
    "encoder": ENCODER,
    "augment": AUGMENT,
    "model": MODEL,
    "optim": {
        "lr": Setting(1e-3, "largest learning rate", low=0),
        "min_lr": Setting(None, "last learning rate; None: lr / 2", float, low=0, high="optim.lr"),
        "warmup_epochs": Setting(20, "epochs of linear warm-up", low=0, below="epochs"),
        "schedule_epochs": Setting(
            None,
            "when the learning rate reaches min_lr, and stays; None: at the end",
            float,
            above="optim.warmup_epochs",
            high="epochs",
        ),
        **ADAM,
        "weight_decay_end": Setting(
            None, "last weight decay, along half a cosine; None: as the first", float, low=0
        ),
        "layer_decay": Setting(
            1.0,
            "learning rate of a layer of the encoder over that of the layer above",
            above=0,
            high=1,
        ),
        "embed_scale": Setting(
            1.0, "learning rate of the patch embedding over that of the rest", above=0
        ),
        "freeze_epochs": Setting(
            None, "epochs in which prototypes do not change; None: none", float, above=0
        ),
        "accumulate": Setting(1, "parts that a batch is computed in, to save memory", low=1),
        "ema_decay": Setting(
            None, "also keep a moving average of the encoder; None: do not", float, above=0, below=1
        ),
    },
    "steps_per_dispatch": Setting(
        50,
        "steps per line of metrics, and per call of the compiled program at most: fewer where they "
        "take more than 2 s",
        low=1,
    ),
    "checkpoint": {
        "epochs": Setting(20, "epochs between checkpoints", low=1),
        "keep": Setting(2, "newest checkpoints that are kept", low=1),
    },
    "writers": LOGGED_BY,
}


# What published code has where it differs from the defaults above: by the start of the data set's
# name ('': every one), by key. The page docs/published_settings.md gives the sources.
PUBLISHED: Mapping[str, Mapping[str, Any]] = {
    "": {
        "dtype": "float32",
        "input.bodies": "all",
        "input.absent_frames": "counted",
        "encoder.patch_init": "torch",
        "model.round_visible": "down",
        "optim.decay_on": "all",
    },
    "ntu120": {"input.second_body": "repeat", "model.tau": 0.75},
}


def of_method(method: str) -> Tree:
    """The settings of pre-training by a method; `UserError` for an unknown one.

    The section `model` has mask and decoder, and configs/NAME.py adds the method's own settings; or
    its SETTINGS are all, if it says `MASKS = False`.
    """
    own, shared = files.settings_of("method", method), MODEL if files.masks(method) else {}
    return {**PRETRAINING, "model": {**shared, **own}}


def with_default(setting: Setting, default) -> Setting:
    """The same setting with another default."""
    return dataclasses.replace(setting, default=default)


def pretraining(method: str, argument: str) -> ml_collections.ConfigDict:
    """The pre-training config of a method, for a data set and options: `arguments.read`.

    For the folder of a user's own records, `data_dir` does not matter.
    """
    chosen = arguments.read(argument)
    name, dataset = chosen.name, chosen.dataset
    config = settings.defaults(of_method(method))
    config.method, config.dataset = method, name
    config.input.centre = dataset.centre
    config.input.max_frames = dataset.max_frames
    config.augment.max_angles = max_angles(dataset)
    config.encoder.num_joints = dataset.layout.num_joints
    config.encoder.channels = len(dataset.channels)
    config.encoder.confidence = dataset.has_confidence
    if chosen.published:
        publish(config, PUBLISHED)
        publish(config, files.published_of("method", method))
    if small := small_model(name):
        set_known(config, small)
    config.size = size_of(chosen)
    if config.size:
        own = (dataset.sequences or {}).get("train")
        set_known(config, sizes.of(config.size, own))
    if chosen.runlocal:
        config.size = None
        set_known(config, RUNLOCAL)
        config.input.split = dataset.first("train", 64)
        config.batch_size = max(1, dataset.at_most(config.batch_size, "train"))
    return config


def set_known(config: ml_collections.ConfigDict, values: Mapping[str, Any]) -> None:
    """Sets values in place, by key; those of a mask or a decoder only where the method has one."""
    known = settings.flat(config)
    config.update_from_flattened_dict({k: v for k, v in values.items() if k in known})


def size_of(chosen: arguments.Argument) -> str | None:
    """The size that an argument names, or that fits own data; None: a named set's own."""
    own = (chosen.dataset.sequences or {}).get("train")
    return chosen.size or (sizes.fitting(own) if own else None)


def publish(config: ml_collections.ConfigDict, published: Mapping[str, Mapping[str, Any]]) -> None:
    """Sets the values of a table like `PUBLISHED` that hold for the config's data set."""
    for start, values in published.items():
        if config.dataset.startswith(start):
            set_known(config, values)


def max_angles(dataset: datasets.Dataset) -> tuple[float, float, float]:
    """The field's bounds of random rotations: 0.3 radians about each axis; only z in an image."""
    return tuple(0.3 * turns for turns in dataset.turns_about)


# Sets of one Kinect: hundreds of sequences of 20 to 110 frames. Minutes on two cores.
ONE_KINECT = {
    "epochs": 60,
    "batch_size": 32,
    "augment.min_frames": 16,
    "augment.max_angles": (0.3, 1.0, 0.3),
    "encoder.num_frames": 48,
    **sizes.MODELS["small"],
    "optim.warmup_epochs": 5,
}


# The quickstart: minutes on two cores.
SYNTHETIC = {
    "epochs": 40,
    "batch_size": 32,
    "encoder.num_frames": 72,
    "encoder.width": 64,
    "encoder.depth": 3,
    "encoder.num_heads": 4,
    "model.decoder_width": 64,
    "model.decoder_heads": 4,
    "model.decoder_depth": 2,
    "optim.warmup_epochs": 4,
}

# Seconds on two cores.
RUNLOCAL = {
    "epochs": 2,
    "batch_size": 16,
    "steps_per_dispatch": 2,
    "encoder.width": 32,
    "encoder.depth": 2,
    "encoder.num_heads": 2,
    "model.decoder_width": 32,
    "model.decoder_depth": 1,
    "model.decoder_heads": 2,
    "optim.warmup_epochs": 0,
    "checkpoint.epochs": 1,
}

# Data sets with a small model of their own.
SMALL = {
    "synthetic": SYNTHETIC,
    **{name: ONE_KINECT for name in datasets.DATASETS if datasets.DATASETS[name].one_kinect},
}


def small_model(name: str) -> Mapping[str, Any] | None:
    """The settings of a data set's small model, by key; several share theirs. None: full size."""
    return SMALL.get(name) or (ONE_KINECT if datasets.get(name).one_kinect else None)


def is_small(name: str) -> bool:
    """Whether a data set has a small model: a row of `SMALL`, or own records of few sequences."""
    own = (datasets.get(name).sequences or {}).get("train")
    return bool(small_model(name)) or (own is not None and sizes.fitting(own) == "small")
