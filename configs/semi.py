r"""Semi-supervised: fine-tuning on a class-balanced part of the labels; mean and std over draws.

  amr-jax evaluate --config=semi:ntu60_xsub --config.fraction=0.01 \
      --config.pretrained=DIR --workdir=DIR2

Without `pretrained`, only from scratch. The argument is a data set (`amr_jax/data/datasets.py`) or
`NAME,runlocal`: few epochs, seconds on two cores.
`,published` counts absent bodies and trains in float32, with weight decay on embeddings:
docs/published_settings.md.

NW-UCLA, AMR pre-trained for 200 epochs: 1 % of the labels 36.8 %, 10 % of the labels 60.6 %; from
scratch 22.0 % and 46.6 % (docs/results.md).
"""

import ml_collections

from amr_jax.config import arguments, base
from amr_jax.config.evaluation import FINETUNING, PUBLISHED_FINETUNING, finetuning
from amr_jax.config.settings import Setting

SETTINGS = {
    **FINETUNING,
    # One per cent of a small set is one batch per epoch.
    "min_steps": base.with_default(FINETUNING["min_steps"], 200),
    "fraction": Setting(
        0.1, "labelled share of the training sequences (published: 0.01, 0.1)", above=0, high=1
    ),
    "draws": Setting(5, "subsets of labels, each trained on", low=1),
}
PUBLISHED = PUBLISHED_FINETUNING


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for a data set and options (`amr_jax/data/datasets.py`)."""
    config = finetuning("semi", argument)
    config.test_epochs = config.epochs  # only at the end
    if arguments.read(argument).runlocal:
        config.draws = 2
        config.min_steps = 0
    return config
