r"""Fine-tuning: encoder and head trained together on all labels; and from scratch, beside it.

  python -m amr_jax.evaluate --config=configs/finetune.py:ntu60_xsub \
      --config.pretrained=DIR --workdir=DIR2
  python -m amr_jax.evaluate --config=configs/finetune.py:ntu60_xsub \
      --config.data_dir=DATA --workdir=DIR3

Without `pretrained`, an encoder as `config.scratch` says is trained from scratch alone. The
argument is a data set of `data/datasets.py`, or `NAME,runlocal`: few epochs, seconds on two
cores. What fine-tuning shares with configs/semi.py: `config/base.py`. Results: the README's
tables.
"""

import ml_collections

from amr_jax.config import base as base_config


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for `NAME` or `NAME,runlocal`."""
    return base_config.finetuning("finetune", argument)
