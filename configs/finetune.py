r"""Fine-tuning: encoder and head trained together on all labels, and from scratch.

  amr-jax evaluate --config=finetune:ntu60_xsub \
      --config.pretrained=DIR --workdir=DIR2
  amr-jax evaluate --config=finetune:ntu60_xsub \
      --config.data_dir=DATA --workdir=DIR3

Without `pretrained`, only the encoder of `config.scratch` is trained, from scratch. The argument is
a data set (`amr_jax/data/datasets.py`) or `NAME,runlocal`: few epochs, seconds on two cores.
`,published` counts absent bodies and trains in float32, with weight decay on embeddings:
docs/published_settings.md.

NW-UCLA, AMR pre-trained for 200 epochs: 87.5 %; from scratch 77.4 % (docs/results.md).
"""

import ml_collections

from amr_jax.config.evaluation import FINETUNING, PUBLISHED_FINETUNING, finetuning

SETTINGS = FINETUNING
PUBLISHED = PUBLISHED_FINETUNING


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for a data set and options (`amr_jax/data/datasets.py`)."""
    return finetuning("finetune", argument)
