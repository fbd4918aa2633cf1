"""MAMP pre-training: SkeletonMAE with motion-aware masking and motion targets.

  amr-jax pretrain --config=mamp:ntu60_xsub --workdir=DIR

The argument is a data set (`amr_jax/data/datasets.py`), or `NAME,runlocal` for a small model and
batch: seconds on two cores. Shared settings: `amr_jax/config/base.py`.
`,published` takes the rules of MAMP's code for bodies, masks, decay, initial values and precision,
and on NTU 60 a decoder of 3 blocks: docs/published_settings.md.

NW-UCLA, 40 epochs, one CPU core: 11:35 minutes; linear 68.5 %, 1-NN 65.7 % (docs/results.md).
"""

import ml_collections

from amr_jax.config import base

SETTINGS = {
    **base.MASK_TOKENS,
    "masking": base.with_default(base.MODEL["masking"], "motion_aware"),
    "target": base.with_default(base.TARGET["target"], "motion"),
}

# The scripts for NTU 60; the papers count the operations of 5.
PUBLISHED = {"ntu60": {"model.decoder_depth": 3}}


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for a data set and options (`amr_jax/data/datasets.py`)."""
    return base.pretraining("mamp", argument)
