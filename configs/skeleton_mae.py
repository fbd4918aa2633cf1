"""SkeletonMAE pre-training: random masking, mask tokens, self-attention decoder, joint targets.

  amr-jax pretrain --config=skeleton_mae:ntu60_xsub --workdir=DIR

The argument is a data set (`amr_jax/data/datasets.py`), or `NAME,runlocal` for a small model and
batch: seconds on two cores. Shared settings: `amr_jax/config/base.py`.
`,published` takes the rules of MAMP's code for bodies, masks, decay, initial values and precision,
and on NTU 60 a decoder of 3 blocks: docs/published_settings.md.

NW-UCLA, 40 epochs, one CPU core: 10:55 minutes; linear 59.5 %, 1-NN 52.4 % (docs/results.md).
"""

import ml_collections

from amr_jax.config import base

SETTINGS = base.MASK_TOKENS

# The scripts for NTU 60; the papers count the operations of 5.
PUBLISHED = {"ntu60": {"model.decoder_depth": 3}}


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for a data set and options (`amr_jax/data/datasets.py`)."""
    return base.pretraining("skeleton_mae", argument)
