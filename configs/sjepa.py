"""S-JEPA pre-training: predicts the tokens of a momentum encoder that sees the whole clip.

  python -m amr_jax.pretrain --config=configs/sjepa.py:ntu60_xsub --workdir=DIR

The argument is a data set (`data/datasets.py`) or `NAME,runlocal` for a small model and batch:
seconds on two cores. What all methods share: `config/base.py`. Times and results: the
README's tables. `--config.average=True` evaluates the momentum encoder instead.
"""

import ml_collections

from amr_jax.config import base as base_config
from amr_jax.data import datasets


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for `NAME` or `NAME,runlocal`."""
    config = base_config.pretraining("sjepa", argument)
    dataset = datasets.get(config.dataset)
    config.model.masking = "motion_aware"
    config.model.view_angles = base_config.max_angles(dataset)  # radians about x, y, z
    config.model.view_shift = 0.1  # metres; in an image, sizes of the body
    config.model.view_mirror = dataset.layout.mirrored  # (): no mirror
    config.model.shared_view = False
    config.model.target_temperature = 0.06
    config.model.prediction_temperature = 0.1
    config.model.centre_momentum = 0.9
    config.model.momentum_start = 0.9999
    config.model.momentum_end = 1.0
    if config.dataset in base_config.SMALL:
        # In a hundredth of the steps, an average as slow as that would never leave its start.
        config.model.momentum_start = 0.996
    return config
