"""AMR pre-training: random masking, query decoder on large patches, focal reconstruction.

  python -m amr_jax.pretrain --config=configs/amr.py:ntu60_xsub --workdir=DIR

The argument is a data set of `amr_jax/datasets.py`, or `NAME,runlocal` for a small model and batch:
seconds on two cores. Times and results: the README's tables.
"""

import ml_collections

from amr_jax import datasets


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for `NAME` or `NAME,runlocal`."""
    name, dataset, runlocal = datasets.argument(argument)
    config = ml_collections.ConfigDict()
    config.method = "amr"
    config.dataset = name
    config.data_dir = "~/tensorflow_datasets"
    config.seed = 0
    config.dtype = "auto"  # bfloat16 on TPU and GPU, float32 on CPU
    config.epochs = 400
    config.batch_size = 128  # units: bodies if input.bodies is 'packed', else sequences

    config.input = ml_collections.ConfigDict()
    config.input.split = "train"  # or a part of it: 'train[:10%]'
    config.input.mode = "resident"  # or 'stream': the clips of a dispatch are in memory at once
    config.input.bodies = "packed"  # or 'all': absent second bodies are encoded too, as published
    config.input.second_body = "zeros"  # with 'all': or 'repeat', as MAMP does on NTU-120
    config.input.centre = dataset.centre
    config.input.max_frames = dataset.max_frames

    config.augment = ml_collections.ConfigDict()
    config.augment.min_fraction = 0.5
    config.augment.max_fraction = 1.0
    config.augment.min_frames = 64
    config.augment.max_angles = (0.3, 0.3, 0.3)  # radians about x, y, z

    config.encoder = ml_collections.ConfigDict()
    config.encoder.num_frames = 120
    config.encoder.num_joints = dataset.layout.num_joints
    config.encoder.channels = 3
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
    config.model.r = 6
    config.model.decoder_width = 256
    config.model.decoder_depth = 5
    config.model.decoder_heads = 8
    config.model.decoder_mlp_ratio = 4.0
    config.model.decoder_self_attention = False
    config.model.target = "motion"
    config.model.normalisation = "patch"
    config.model.windows = (4, 8, 12)
    config.model.weighting = "ratio"
    config.model.k = 0.01
    config.model.epsilon = 1e-8
    config.model.energy_threshold = "body"
    config.model.loss_on = "all"

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

    if name == "nwucla":  # 1,020 sequences of 39 frames on average, seen by three cameras
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

    if name == "synthetic":  # minutes on two cores, for the quickstart
        config.epochs = 40
        config.batch_size = 32
        config.encoder.num_frames = 72
        config.encoder.width = config.model.decoder_width = 64
        config.encoder.depth = 3
        config.encoder.num_heads = config.model.decoder_heads = 4
        config.model.decoder_depth = 2
        config.optim.warmup_epochs = 4

    if runlocal:
        config.input.split = "train[:64]"
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
    return config
