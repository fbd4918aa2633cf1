r"""Cosine 1-NN on the frozen encoder's features: each test sequence takes its neighbour's class.

  python -m amr_jax.evaluate --config=configs/knn.py:ntu60_xsub \
      --config.pretrained=DIR --workdir=DIR2

The argument is a data set (`data/datasets.py`) or `NAME,runlocal`. The time is that of
encoding both splits once. Results: the README's tables.
"""

import ml_collections

from amr_jax.data import datasets


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for `NAME` or `NAME,runlocal`."""
    name, dataset, runlocal = datasets.argument(argument)
    config = ml_collections.ConfigDict()
    config.protocol = "knn"
    config.pretrained = ""  # workdir of the pre-training run
    config.step = 0  # of which checkpoint; 0: the newest
    config.random_encoder = True  # judge one that learned nothing, too
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
    config.encode_batch_size = 64  # bodies; changes memory and speed alone
    config.test_fraction = 0.95  # of the frames: the centre crop, of both splits

    config.k = 1

    if runlocal:
        config.train_split = dataset.first("train", 64)
        config.test_split = dataset.first("test", 64)
        config.encode_batch_size = 32
    return config
