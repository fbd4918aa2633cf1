r"""NAT pre-training: SkeletonMAE with joints normalised over time; or NAT w/ Con.

  amr-jax pretrain --config=nat:ntu60_xsub --workdir=DIR
  amr-jax pretrain --config=nat:ntu60_xsub --config.model.contrast=0.1 \
      --workdir=DIR2

The argument is a data set (`amr_jax/data/datasets.py`), or `NAME,runlocal` for a small model and
batch: seconds on two cores. Shared settings: `amr_jax/config/base.py`.
`,published` takes the rules of MAMP's code for bodies, masks, decay, initial values and precision:
docs/published_settings.md.

NW-UCLA, 40 epochs, one CPU core: 11:16 minutes (w/ Con 17:25); linear 59.9 % (61.9 %), 1-NN 58.4 %
(65.9 %): docs/results.md.
"""

import ml_collections

from amr_jax.config import base
from amr_jax.config.settings import Setting

SETTINGS = {
    **base.MASK_TOKENS,
    "normalisation": base.with_default(base.TARGET["normalisation"], "timestamps"),
    "contrast": Setting(0.0, "weight of the contrastive term; 0: plain NAT", low=0),
    "temperature": Setting(0.2, "of the contrastive term", above=0),
    **base.MOMENTUM,
}


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for a data set and options (`amr_jax/data/datasets.py`)."""
    return base.pretraining("nat", argument)
