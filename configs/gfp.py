"""GFP pre-training: predicts features of motion, made by a small network, at several scales.

  amr-jax pretrain --config=gfp:ntu60_xsub --workdir=DIR

The argument is a data set (`amr_jax/data/datasets.py`), or `NAME,runlocal` for a small model and
batch: seconds on two cores. Shared settings: `amr_jax/config/base.py`.
`,published` takes the rules of MAMP's code for bodies, masks, decay, initial values and precision:
docs/published_settings.md.

NW-UCLA, 40 epochs, one CPU core: 8:28 minutes; linear 67.5 %, 1-NN 57.3 % (docs/results.md).
"""

import ml_collections

from amr_jax.config import base, checks
from amr_jax.config.settings import Setting

SETTINGS = {
    "masking": base.with_default(base.MODEL["masking"], "motion_aware"),
    "decoder_depth": base.with_default(base.MODEL["decoder_depth"], 2),  # blocks of each level
    "levels": Setting(
        (5, 10, 30),
        "patches of a level's cell in time, each a divisor of the next",
        divides="encoder.num_frames / encoder.patch_len",
        rule=checks.levels_nest,
    ),
    "feature_width": Setting(256, "width of the targets", low=1),
    "hidden": Setting(512, "hidden width of the networks that make targets of cells", low=1),
    "global_hidden": Setting(2048, "hidden width of the network for the whole body", low=1),
    "prediction_weight": Setting(5.0, "weight of the prediction term", low=0),
    "covariance_weight": Setting(5.0, "weight of the covariance term", low=0),
    "variance_weight": Setting(1.0, "weight of the variance term", low=0),
}


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for a data set and options (`amr_jax/data/datasets.py`)."""
    config = base.pretraining("gfp", argument)
    width = config.model.decoder_width
    config.model.feature_width = width
    config.model.hidden = 2 * width
    config.model.global_hidden = 8 * width
    if base.small_model(config.dataset):  # 12 and 18 patches in time
        config.model.levels = (3, 6, config.encoder.num_frames // config.encoder.patch_len)
        config.model.decoder_depth = 1
    return config
