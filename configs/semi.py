r"""Semi-supervised: fine-tuning on a class-balanced part of the labels; mean and std over draws.

  python -m amr_jax.evaluate --config=configs/semi.py:ntu60_xsub --config.fraction=0.01 \
      --config.pretrained=DIR --workdir=DIR2

Without `pretrained`, from scratch alone. The argument is a data set of `data/datasets.py`, or
`NAME,runlocal`: few epochs, seconds on two cores. What it shares with configs/finetune.py:
`config/base.py`. Results: the README's tables.
"""

import ml_collections

from amr_jax.config import base as base_config
from amr_jax.data import datasets


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for `NAME` or `NAME,runlocal`."""
    config = base_config.finetuning("semi", argument)
    config.fraction = 0.1  # of the training sequences; published: 0.01 and 0.1
    config.draws = 5
    config.min_steps = 200  # 1 % of a small set is one batch an epoch
    config.test_epochs = config.epochs  # at the end alone
    if datasets.argument(argument)[2]:  # runlocal
        config.draws = 2
        config.min_steps = 0
    return config
