"""GFP pre-training: predicts features of motion, which a small network makes, at several scales.

  python -m amr_jax.pretrain --config=configs/gfp.py:ntu60_xsub --workdir=DIR

The argument is a data set (`data/datasets.py`) or `NAME,runlocal` for a small model and batch:
seconds on two cores. What all methods share: `config/base.py`. Times and results: the
README's tables.
"""

import ml_collections

from amr_jax.config import base as base_config


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for `NAME` or `NAME,runlocal`."""
    config = base_config.pretraining("gfp", argument)
    width = config.model.decoder_width
    config.model.masking = "motion_aware"
    config.model.decoder_depth = min(2, config.model.decoder_depth)  # blocks of each level
    config.model.levels = (5, 10, 30)  # patches of a cell in time
    config.model.feature_width = width
    config.model.hidden = 2 * width  # 512 at full size
    config.model.global_hidden = 8 * width  # 2048 at full size
    config.model.prediction_weight = 5.0
    config.model.covariance_weight = 5.0
    config.model.variance_weight = 1.0
    if config.dataset in base_config.SMALL:  # 12 and 18 patches in time
        config.model.levels = (3, 6, config.encoder.num_frames // config.encoder.patch_len)
        config.model.decoder_depth = 1
    return config
