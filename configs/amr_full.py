r"""AMR by the recipe, full: the encoder of the papers, for accelerators.

  amr-jax pretrain --config=amr_full:ntu60_xsub --config.data_dir=DATA --workdir=RUN

The recipe is in `amr_jax/config/recipes.py`; it was found on small sets and small models
(docs/real_sets.md). This size has not been trained: no accelerator was available.
"""

import ml_collections

from amr_jax.config import sizes
from amr_jax.config.recipes import recipe

SIZES = {
    "epochs": 400,
    "batch_size": 128,
    "augment.min_frames": 64,
    "encoder.num_frames": 120,
    **sizes.MODELS["large"],
    "optim.warmup_epochs": 20,
}


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for a data set and options (`amr_jax/data/datasets.py`)."""
    return recipe(argument, SIZES)
