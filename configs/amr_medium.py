r"""AMR by the recipe, medium: all small real sets together, within an hour on two cores.

  amr-jax pretrain --config=amr_medium:nwucla+utd+msr+kard+utkinect+florence \
      --config.data_dir=DATA --workdir=RUN

The recipe is in `amr_jax/config/recipes.py`, the experiments behind it in docs/real_sets.md.

One CPU core: 23 minutes; linear, NW-UCLA 80.2 %, UTD-MHAD 87.4 %; 1-NN, NW-UCLA 80.0 %.
"""

import ml_collections

from amr_jax.config import base, sizes
from amr_jax.config.recipes import recipe

SIZES = {
    **base.ONE_KINECT,
    **sizes.MODELS["base"],
    "epochs": 200,
    "optim.warmup_epochs": 10,
}


def get_config(argument: str = "nwucla") -> ml_collections.ConfigDict:
    """The config for a data set and options (`amr_jax/data/datasets.py`)."""
    return recipe(argument, SIZES)
