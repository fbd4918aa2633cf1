"""MAMP pre-training: SkeletonMAE with motion-aware masking and motion targets.

  python -m amr_jax.pretrain --config=configs/mamp.py:ntu60_xsub --workdir=DIR

The argument is a data set (`data/datasets.py`) or `NAME,runlocal` for a small model and batch:
seconds on two cores. What all methods share: `config/base.py`. Times and results: the
README's tables.
"""

import ml_collections

from amr_jax.config import base as base_config


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for `NAME` or `NAME,runlocal`."""
    config = base_config.pretraining("mamp", argument)
    config.model.masking = "motion_aware"
    config.model.target = "motion"
    config.model.normalisation = "patch"
    config.model.num_decoded = 0  # hidden patches that are decoded (decoder masking); 0: all
    config.model.pool = 1  # patches in time that the decoder averages over (downsampling)
    return config
