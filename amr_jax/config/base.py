"""What the pre-training configs of all methods share; configs/<method>.py adds what is its own.

The data, the encoder, the mask's size, the decoder's sizes and the optimiser stand here once, so
that methods differ in nothing else. So does what comparisons of methods share, and what the
protocols that fine-tune do. Imports no JAX.
"""

from collections.abc import Iterable

import ml_collections

from amr_jax.data import datasets


def pretraining(method: str, argument: str) -> ml_collections.ConfigDict:
    """The shared part of a pre-training config, for a data set `NAME` or `NAME,runlocal`.

    `NAME` may be the folder of a user's own records, too, wherever that is: `data_dir` does not
    matter then. `runlocal` is a small model and batch: seconds on two cores.
    """
    name, dataset, runlocal = datasets.argument(argument)
    config = ml_collections.ConfigDict()
    config.method = method
    config.dataset = name
    config.data_dir = "~/tensorflow_datasets"
    config.seed = 0
    config.dtype = "auto"  # bfloat16 on TPU and GPU, float32 on CPU
    config.attention_kernel = "xla"  # or 'cudnn', on NVIDIA GPUs in bfloat16
    config.epochs = 400
    config.batch_size = 128  # units: bodies if input.bodies is 'packed', else sequences
    config.fsdp = 1  # devices that share parameters and optimiser state; every one has its batch

    config.input = ml_collections.ConfigDict()
    config.input.split = "train"  # or a part of it: 'train[:10%]'
    config.input.mode = "resident"  # or 'stream': the clips of a dispatch are in memory at once
    config.input.storage = "int16"  # of the joints on the devices: 0.05 mm exact; or 'float32'
    config.input.bodies = "packed"  # or 'all': absent second bodies are encoded too, as published
    config.input.second_body = "zeros"  # with 'all': or 'repeat', as MAMP does on NTU-120
    config.input.stream = "joint"  # or 'bone', 'motion': what encoder and losses see of a clip
    config.input.centre = dataset.centre
    config.input.max_frames = dataset.max_frames

    config.augment = ml_collections.ConfigDict()
    config.augment.min_fraction = 0.5
    config.augment.max_fraction = 1.0
    config.augment.min_frames = 64
    config.augment.max_angles = max_angles(dataset)  # radians about x, y, z

    config.encoder = ml_collections.ConfigDict()
    config.encoder.num_frames = 120
    config.encoder.num_joints = dataset.layout.num_joints
    config.encoder.channels = len(dataset.channels)
    config.encoder.confidence = dataset.has_confidence  # the last channel: seen, not predicted
    config.encoder.patch_len = 4
    config.encoder.width = 256
    config.encoder.depth = 8
    config.encoder.num_heads = 8
    config.encoder.mlp_ratio = 4.0
    config.encoder.drop_path = 0.0

    config.model = ml_collections.ConfigDict()
    config.model.mask_ratio = 0.9
    config.model.num_visible = 0  # 0: round(N · (1 − mask_ratio))
    config.model.masking = "random"
    config.model.tau = 0.8  # temperature of masking='motion_aware'
    config.model.decoder_width = 256
    config.model.decoder_depth = 5
    config.model.decoder_heads = 8
    config.model.decoder_mlp_ratio = 4.0

    config.optim = ml_collections.ConfigDict()
    config.optim.lr = 1e-3
    config.optim.min_lr = 5e-4
    config.optim.warmup_epochs = 20
    config.optim.weight_decay = 0.05
    config.optim.b1 = 0.9
    config.optim.b2 = 0.95
    config.optim.clip_norm = 0.0  # 0: off
    config.optim.accumulate = 1  # parts that a batch is computed in
    config.optim.ema_decay = 0.0  # 0: off

    config.steps_per_dispatch = 50
    config.checkpoint = ml_collections.ConfigDict()
    config.checkpoint.epochs = 20
    config.checkpoint.keep = 2

    if name in SMALL:
        SMALL[name](config)
    if runlocal:
        _runlocal(config)
        config.input.split = dataset.first("train", 64)
    return config


def max_angles(dataset: datasets.Dataset) -> tuple[float, float, float]:
    """The field's bounds of a random rotation, 0.3 radians about each axis; z alone in an image."""
    return tuple(0.3 * turns for turns in dataset.turns_about)


def _nwucla(config: ml_collections.ConfigDict) -> None:
    """1,020 sequences of 39 frames on average, seen by three cameras: minutes on two cores."""
    config.epochs = 60
    config.batch_size = 32
    config.augment.min_frames = 16
    config.augment.max_angles = (0.3, 1.0, 0.3)
    config.encoder.num_frames = 48
    config.encoder.width = config.model.decoder_width = 96
    config.encoder.depth = 4
    config.encoder.num_heads = config.model.decoder_heads = 4
    config.model.decoder_depth = 2
    config.optim.warmup_epochs = 5


def _synthetic(config: ml_collections.ConfigDict) -> None:
    """The quickstart: minutes on two cores."""
    config.epochs = 40
    config.batch_size = 32
    config.encoder.num_frames = 72
    config.encoder.width = config.model.decoder_width = 64
    config.encoder.depth = 3
    config.encoder.num_heads = config.model.decoder_heads = 4
    config.model.decoder_depth = 2
    config.optim.warmup_epochs = 4


# Data sets with a small model of their own.
SMALL = {"nwucla": _nwucla, "synthetic": _synthetic}


def _runlocal(config: ml_collections.ConfigDict) -> None:
    config.epochs = 2
    config.batch_size = 16
    config.encoder.width = 32
    config.encoder.depth = 2
    config.encoder.num_heads = 2
    config.model.decoder_width = 32
    config.model.decoder_depth = 1
    config.model.decoder_heads = 2
    config.optim.warmup_epochs = 0
    config.steps_per_dispatch = 2
    config.checkpoint.epochs = 1


def finetuning(protocol: str, argument: str) -> ml_collections.ConfigDict:
    """What configs/finetune.py and configs/semi.py share, for `NAME` or `NAME,runlocal`."""
    name, dataset, runlocal = datasets.argument(argument)
    config = ml_collections.ConfigDict()
    config.protocol = protocol
    config.pretrained = ""  # workdir of the pre-training run; '': from scratch alone
    config.step = 0  # of which checkpoint; 0: the newest
    config.random_encoder = True  # train one from scratch, too
    config.average = False  # the moving average of the encoder, where the run kept one
    config.adapt = False  # to other joints than the run's, by name, or to another num_frames
    config.num_frames = 0  # T of the clips; 0: as in the pre-training run
    config.dataset = name
    config.data_dir = ""  # '': where the pre-training run read its records
    config.seed = 0
    config.dtype = "auto"  # 'auto': as in the pre-training run

    config.train_split = "train"  # or a part of it: 'train[:10%]'
    config.test_split = "test"
    config.bodies = "packed"  # or 'all': an absent second body's features count too, as published
    config.test_fraction = 0.95  # of the frames: the test's centre crop

    config.epochs = 100
    config.min_steps = 0  # more epochs, where they have fewer steps than this
    config.test_epochs = 5
    config.batch_size = 48  # sequences
    config.label_smoothing = 0.1
    config.drop_path = 0.3  # stochastic depth of the encoder
    config.head = ml_collections.ConfigDict()
    config.head.hidden = 2048
    config.head.dropout = 0.3
    config.optim = ml_collections.ConfigDict()
    config.optim.lr = 5e-4
    config.optim.min_lr = 1e-6
    config.optim.warmup_epochs = 5
    config.optim.layer_decay = 0.8
    config.optim.weight_decay = 0.05
    config.optim.b1 = 0.9
    config.optim.b2 = 0.999
    config.optim.clip_norm = 0.0  # 0: off

    # Read where `pretrained` is empty: what a pre-training run's config says otherwise.
    scratch = pretraining("amr", argument)
    config.scratch = ml_collections.ConfigDict()
    config.scratch.encoder = scratch.encoder
    del config.scratch.encoder.drop_path  # it is the protocol's
    config.scratch.augment = scratch.augment
    config.scratch.data_dir = scratch.data_dir
    config.scratch.input = ml_collections.ConfigDict()
    config.scratch.input.stream = scratch.input.stream
    config.scratch.input.centre = scratch.input.centre
    config.scratch.input.max_frames = scratch.input.max_frames

    if name in SMALL:  # a fraction of the steps: a higher rate, and less to regularise
        config.epochs = 30
        config.batch_size = 32
        config.optim.lr = 1e-3
        config.drop_path = 0.1
        config.head.hidden = 512
    if runlocal:
        config.train_split = dataset.first("train", 64)
        config.test_split = dataset.first("test", 64)
        config.epochs = 4
        config.batch_size = 16
        config.test_epochs = 2
        config.head.hidden = 64
        config.optim.warmup_epochs = 1
    return config


def comparison(argument: str, configs: str) -> ml_collections.ConfigDict:
    """The shared part of configs/compare.py and configs/ablation.py, which add rows and tables.

    Args:
      argument: `NAME`, or `NAME,runlocal`: every row in its `runlocal` variant.
      configs: the folder of the config files that rows and protocols name.
    """
    name, _, runlocal = datasets.argument(argument)
    config = ml_collections.ConfigDict()
    config.dataset = name
    config.runlocal = runlocal
    config.data_dir = "~/tensorflow_datasets"
    config.seed = 0  # of pre-training and evaluation
    config.budget = "epochs"  # the same for every row; or 'seconds', of training
    config.epochs = 0  # 0: as many as the rows' config files say
    config.seconds = 3600.0  # with budget='seconds'
    config.overrides = ()  # of every row's config: ('batch_size=64', 'model.mask_ratio=0.8')
    config.protocols = ("linear", "knn")
    config.protocol_overrides = ()  # of theirs: ('linear.epochs=50',)
    config.only = ""  # rows to train now: 'amr,mamp'; '': all
    config.configs = configs
    config.reference = ""  # the row that speed-ups are against
    config.ours = ""  # the row that the notes compare with all others
    config.rows = ml_collections.ConfigDict()
    config.tables = ml_collections.ConfigDict(sort_keys=False)  # rows run in the tables' order
    return config


def row(title: str, config: str, *overrides: str) -> ml_collections.ConfigDict:
    """A row of a comparison: `overrides` of the file `config`.py, as 'model.contrast=0.1'."""
    return ml_collections.ConfigDict({"title": title, "config": config, "overrides": overrides})


def table(title: str, rows: Iterable[str], plot: str = "time") -> ml_collections.ConfigDict:
    """A table of a comparison: rows by name; `plot` accuracy over training 'time' or over 'r'."""
    return ml_collections.ConfigDict({"title": title, "rows": tuple(rows), "plot": plot})
