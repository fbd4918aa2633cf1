r"""AMR by the recipe, small: a set of one Kinect in minutes on two cores.

  amr-jax pretrain --config=amr_small:nwucla --config.data_dir=DATA --workdir=RUN

The argument is a data set, several (`nwucla+utd+msr`), or `NAME,runlocal`. The recipe is in
`amr_jax/config/recipes.py`, the experiments behind it in docs/real_sets.md.

NW-UCLA alone, one CPU core: 2 minutes; linear 78.0 %, 1-NN 75.0 %. Six sets together: 4½ minutes;
NW-UCLA 78.9 and 78.4, UTD-MHAD 82.3 and 70.9.

"""

import ml_collections

from amr_jax.config import base
from amr_jax.config.recipes import recipe

SIZES = base.ONE_KINECT


def get_config(argument: str = "nwucla") -> ml_collections.ConfigDict:
    """The config for a data set and options (`amr_jax/data/datasets.py`)."""
    return recipe(argument, SIZES)
