r"""Fine-tuning: encoder and head trained together on all labels, beside training from scratch.

  python -m amr_jax.evaluate --config=configs/finetune.py:ntu60_xsub \
      --config.pretrained=DIR --workdir=DIR2
  python -m amr_jax.evaluate --config=configs/finetune.py:ntu60_xsub \
      --config.data_dir=DATA --workdir=DIR3

Without `pretrained`, the encoder of `config.scratch` is trained from scratch alone. The argument is
a data set (`amr_jax/data/datasets.py`) or `NAME,runlocal`: few epochs, seconds on two cores.
"""

import ml_collections

from amr_jax.config import base

SETTINGS = base.FINETUNING


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for `NAME` or `NAME,runlocal`."""
    return base.finetuning("finetune", argument)
