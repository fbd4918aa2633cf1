"""NAT pre-training: SkeletonMAE with joints normalised among timestamps; or NAT w/ Con.

  python -m amr_jax.pretrain --config=configs/nat.py:ntu60_xsub --workdir=DIR
  python -m amr_jax.pretrain --config=configs/nat.py:ntu60_xsub --config.model.contrast=0.1 \\
      --workdir=DIR2

The argument is a data set (`data/datasets.py`) or `NAME,runlocal` for a small model and batch:
seconds on two cores. What all methods share: `config/base.py`. Times and results: the
README's tables.
"""

import ml_collections

from amr_jax.config import base as base_config


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for `NAME` or `NAME,runlocal`."""
    config = base_config.pretraining("nat", argument)
    config.model.target = "joint"
    config.model.normalisation = "timestamps"
    config.model.num_decoded = 0  # hidden patches that are decoded (decoder masking); 0: all
    config.model.pool = 1  # patches in time that the decoder averages over (downsampling)
    config.model.contrast = 0.0  # weight of the contrastive term; 0: plain NAT
    config.model.temperature = 0.2  # of that term
    config.model.momentum_start = 0.996  # of the second encoder
    config.model.momentum_end = 1.0
    return config
