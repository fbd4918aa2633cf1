r"""Transfer: pre-trained on one data set, fine-tuned on another.

  python -m amr_jax.evaluate --config=configs/transfer.py:pku2_xsub --config.data_dir=DATA \
      --config.pretrained=DIR --workdir=DIR2

The argument is the set to fine-tune on, or `NAME,runlocal`. It is configs/finetune.py with `adapt`:
the joints of the two sets need not be the same, and `--config.num_frames` may be another than in
pre-training; clips are centred and augmented as the new set's are. Results: the README's tables.
"""

import ml_collections

from amr_jax.config import base as base_config


def get_config(argument: str = "pku2_xsub") -> ml_collections.ConfigDict:
    """The config for `NAME` or `NAME,runlocal`."""
    config = base_config.finetuning("finetune", argument)
    config.adapt = True
    return config
