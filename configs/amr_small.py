r"""AMR by the recipe, small: a set of one Kinect in minutes on two cores.

  amr-jax pretrain --config=amr_small:nwucla --config.data_dir=DATA --workdir=RUN

The argument is a data set, several (`nwucla+utd+msr`), or `NAME,runlocal`. The recipe is in
`amr_jax/config/recipes.py`, the experiments behind it in docs/real_sets.md.

"""

import ml_collections

from amr_jax.config import base
from amr_jax.config.recipes import recipe

SIZES = base.ONE_KINECT


def get_config(argument: str = "nwucla") -> ml_collections.ConfigDict:
    """The config for a data set and options (`amr_jax/data/datasets.py`)."""
    return recipe(argument, SIZES)
