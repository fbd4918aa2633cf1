r"""Transfer: pre-trained on one data set, fine-tuned on another.

  amr-jax evaluate --config=transfer:pku2_xsub --config.data_dir=DATA \
      --config.pretrained=DIR --workdir=DIR2

The argument is the set to fine-tune on, or `NAME,runlocal`. The protocol is that of
configs/finetune.py with `adapt`: the two sets may have different joints, and `num_frames` may
differ from pre-training. Clips are centred and augmented as the new set's are.
`,published` is that of configs/finetune.py, with bicubic time embeddings:
docs/published_settings.md.
"""

import ml_collections

from amr_jax.config.evaluation import finetuning


def get_config(argument: str = "pku2_xsub") -> ml_collections.ConfigDict:
    """The config for a data set and options (`amr_jax/data/datasets.py`)."""
    config = finetuning("finetune", argument)
    config.adapt = True
    return config
