"""AMR pre-training: random masking, query decoder on large patches, focal reconstruction.

  python -m amr_jax.pretrain --config=configs/amr.py:ntu60_xsub --workdir=DIR

The argument is a data set (`data/datasets.py`) or `NAME,runlocal` for a small model and batch:
seconds on two cores. What all methods share: `config/base.py`. Times and results: the
README's tables.
"""

import ml_collections

from amr_jax.config import base as base_config


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for `NAME` or `NAME,runlocal`."""
    config = base_config.pretraining("amr", argument)
    config.model.r = 6
    config.model.decoder_self_attention = False
    config.model.target = "motion"
    config.model.normalisation = "patch"
    config.model.windows = (4, 8, 12)
    config.model.weighting = "ratio"
    config.model.k = 0.01
    config.model.epsilon = 1e-8
    config.model.energy_threshold = "body"
    config.model.loss_on = "all"
    return config
