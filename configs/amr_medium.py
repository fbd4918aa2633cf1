r"""AMR by the recipe, medium: all small real sets together, in an hour on two cores.

amr-jax pretrain --config=amr_medium:nwucla --config.data_dir=DATA --workdir=RUN

"""

import ml_collections

from amr_jax.config import base
from amr_jax.config.recipes import recipe

SIZES = {
    **base.ONE_KINECT,
    "epochs": 200,
    "encoder.width": 192,
    "encoder.num_heads": 6,
    "optim.warmup_epochs": 10,
}


def get_config(argument: str = "nwucla") -> ml_collections.ConfigDict:
    """The config for a data set and options (`amr_jax/data/datasets.py`)."""
    return recipe(argument, SIZES)
