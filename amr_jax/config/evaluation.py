"""The settings of evaluation that protocols share; configs/NAME.py adds those of one protocol."""

import dataclasses

import ml_collections

from amr_jax.config import arguments, base, checks, files, settings, sizes
from amr_jax.config.settings import Own, Setting, Tree

EVALUATION: Tree = {
    "protocol": Setting(None, "the protocol", str),
    "pretrained": Setting(None, "workdir of the pre-training run", str),
    "step": Setting(None, "which checkpoint; None: the newest", int, low=1),
    "random_encoder": Setting(True, "also evaluate a random encoder"),
    "average": Setting(
        None, "evaluate the moving average of the encoder; None: as the run's `judged` says", bool
    ),
    "adapt": Setting(False, "adapt the encoder to other joints, by name, or other num_frames"),
    "time_embeddings": Setting(
        "linear",
        "interpolation of time embeddings to other num_frames; bicubic: as published",
        choices=("linear", "bicubic"),
    ),
    "num_frames": Setting(None, "frames of a clip; None: as in pre-training", int, low=1),
    "dataset": base.PRETRAINING["dataset"],
    "size": dataclasses.replace(
        base.PRETRAINING["size"],
        help="a record of which size own data have, and settings with it; changes nothing",
    ),
    "data_dir": Setting(None, "folder of the records; None: as in pre-training", str),
    "seed": Setting(0, "seed of initial values, order and augmentation"),
    "dtype": Setting(
        "auto", "compute dtype; auto: as in pre-training", choices=("auto", *base.DTYPES)
    ),
    "matmul_precision": Setting(
        "auto",
        "precision of matrix products with dtype=float32; auto: as in pre-training",
        choices=("auto", *base.PRECISIONS),
    ),
    "train_split": Setting("train", "the split or a part of it: train[:10%], train[!validation]"),
    "test_split": Setting("test", "the split or a part of it, such as train[validation]"),
    "bodies": Setting(
        "packed", "all: absent second bodies count, as published", choices=base.BODIES
    ),
    "second_body": Setting(
        "zeros",
        "replaces an absent second body; repeat: a copy of the first, as MAMP on NTU-120",
        choices=base.SECOND_BODY,
        rule=checks.all_bodies_if_repeated,
    ),
    "writers": base.LOGGED_BY,
    "test_fraction": Setting(0.95, "fraction of the frames in the centre crop", above=0, high=1),
}

# `amr_jax.models.heads` computes them.
READOUTS = ("mean", "joint", "joint_deviation")

# For protocols with a frozen encoder.
FROZEN: Tree = {
    "readout": Setting(
        "mean",
        "what is kept of the tokens; mean: over time and joints, as published; joint: over time",
        choices=READOUTS,
    ),
    "raw_coordinates": Setting(False, "also evaluate the view's coordinates themselves"),
    "encode_batch_size": Setting(64, "bodies encoded at once; changes no result", low=1),
}

# For those that compare features by their cosine.
COMPARED: Tree = {
    **FROZEN,
    "whiten": Setting(False, "whiten features by the principal axes of the training split"),
}

# For protocols that train the encoder. Without `pretrained`, `scratch` describes the encoder.
FINETUNING: Tree = {
    "epochs": Setting(100, "passes over the labelled data", low=1),
    "min_steps": Setting(0, "epochs are added until there are this many steps", low=0),
    "test_epochs": Setting(5, "epochs between tests", low=1),
    "batch_size": Setting(48, "sequences per step", low=1),
    "label_smoothing": Setting(0.1, "share of a label spread over all classes", low=0, below=1),
    "drop_path": Setting(0.3, "stochastic depth of the encoder", low=0, below=1),
    "head": {
        "hidden": Setting(2048, "features between the head's layers", low=1),
        "dropout": Setting(0.3, "share of every token's features dropped", low=0, below=1),
    },
    "optim": {
        "lr": Setting(3e-4, "largest learning rate", low=0),
        "min_lr": Setting(1e-5, "last learning rate", low=0, high="optim.lr"),
        "warmup_epochs": Setting(5, "epochs of linear warm-up", low=0, high="epochs"),
        "layer_decay": Setting(
            0.8, "learning rate of a layer over the next one's, pre-trained encoder", low=0, high=1
        ),
        "scratch_layer_decay": Setting(1.0, "the same, random encoder", low=0, high=1),
        **base.ADAM,
        "b2": Setting(0.999, "decay of AdamW's second moment", low=0, below=1),
    },
    "scratch": Own(
        encoder={key: entry for key, entry in base.ENCODER.items() if key != "drop_path"},
        augment=base.AUGMENT,
        data_dir=base.PRETRAINING["data_dir"],
        input={
            key: base.PRETRAINING["input"][key]
            for key in ("stream", "centre", "body_frame", "max_frames")
        },
    ),
}


# Of sets with few training sequences (`base.is_small`), by protocol; of finetune: all that train.
FEW = {
    # More steps an epoch, and views encoded once.
    "linear": {"features": "cached", "cached_views": 5, "batch_size": 32, "learning_rate": 0.1},
    # Few steps: a higher learning rate and less regularisation.
    "finetune": {
        "epochs": 30,
        "batch_size": 32,
        "optim.lr": 1e-3,
        "drop_path": 0.1,
        "head.hidden": 512,
    },
}

# As `base.PUBLISHED`: of all protocols, and of those that train the encoder.
PUBLISHED = {
    "": {"dtype": "float32", "bodies": "all", "time_embeddings": "bicubic"},
    "ntu120": {"second_body": "repeat"},
}
PUBLISHED_FINETUNING = {"": {"optim.decay_on": "all"}}


def of_protocol(protocol: str) -> Tree:
    """The settings of an evaluation by a protocol; `UserError` for an unknown one."""
    return {**EVALUATION, **files.settings_of("protocol", protocol)}


def evaluation(protocol: str, argument: str) -> ml_collections.ConfigDict:
    """The config of a protocol, for a data set and options: `arguments.read`."""
    chosen = arguments.one_set(argument)
    config = settings.defaults(of_protocol(protocol))
    config.protocol, config.dataset = protocol, chosen.name
    config.size = base.size_of(chosen) if chosen.dataset.sequences else None
    if chosen.published:
        base.publish(config, PUBLISHED)
        base.publish(config, files.published_of("protocol", protocol))
    if chosen.runlocal:
        config.train_split = chosen.dataset.first("train", 64)
        config.test_split = chosen.dataset.first("test", 64)
        if "encode_batch_size" in config:
            config.encode_batch_size = 32
    return config


def finetuning(protocol: str, argument: str) -> ml_collections.ConfigDict:
    """The config of a protocol that trains the encoder, as `evaluation`."""
    chosen = arguments.read(argument)
    config = evaluation(protocol, argument)
    scratch = base.pretraining("amr", argument)
    for section in ("encoder", "augment", "input"):
        for key in config.scratch[section]:
            config.scratch[section][key] = scratch[section][key]
    if base.is_small(chosen.name):
        config.update_from_flattened_dict(FEW["finetune"])
    if chosen.runlocal:
        config.epochs = 4
        config.batch_size = 16
        config.test_epochs = 2
        config.head.hidden = 64
        config.optim.warmup_epochs = 1
    return config


def as_begun(
    config: ml_collections.ConfigDict, before: ml_collections.ConfigDict
) -> ml_collections.ConfigDict:
    """A config with the settings of an evaluation made before those of own data fitted their size.

    That evaluation had the defaults, unless its user had set others.

    Args:
      config: of this start.
      before: that of the evaluation; read by `run.workdir`.
    """
    same = before.get("protocol") == config.protocol
    if config.get("size") is None or not same or before.get("size") is not None:
        return config
    config = ml_collections.ConfigDict(config.copy_and_resolve_references())
    usual = settings.flat(settings.defaults(of_protocol(config.protocol)))
    was, now = settings.flat(before), settings.flat(config)
    fitting = FEW.get(config.protocol) or (FEW["finetune"] if "scratch" in config else {})
    encoder = {f"scratch.{key}": value for key, value in sizes.SIZES[config.size].items()}
    for key, value in {**fitting, **encoder}.items():
        if key in now and now[key] == value and was.get(key) == usual[key]:
            config.update_from_flattened_dict({key: usual[key]})
    ends = "epochs" in fitting and now["test_epochs"] == now["epochs"]  # as in configs/semi.py
    if ends and was["test_epochs"] == was["epochs"]:
        config.test_epochs = config.epochs
    config.size = None
    return config
