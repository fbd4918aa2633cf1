r"""Ridge evaluation: a linear classifier in closed form on the frozen encoder's features.

  amr-jax evaluate --config=ridge:ntu60_xsub --config.readout=joint \
      --config.pretrained=DIR --workdir=DIR2

The argument is a data set (`amr_jax/data/datasets.py`) or `NAME,runlocal`.
No publication reports it; it shows what features by joint hold where there are few sequences, and
takes the time of encoding `views` + 1 views, and float64 algebra of (values of the read-out)³.

Results: docs/real_sets.md.
"""

import ml_collections

from amr_jax.config import base
from amr_jax.config.evaluation import FROZEN, evaluation
from amr_jax.config.settings import Setting

SETTINGS = {
    **FROZEN,
    "penalty": Setting(
        0.01, "of the squared weights, relative to the mean squared norm of the features", above=0
    ),
    "views": Setting(1, "augmented views of each training sequence beside the centre crop", low=0),
}


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for a data set and options (`amr_jax/data/datasets.py`)."""
    config = evaluation("ridge", argument)
    if base.is_small(config.dataset):
        config.views = 4
    return config
