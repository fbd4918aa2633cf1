"""AMR pre-training: random masking, query decoder on large patches, focal reconstruction.

  amr-jax pretrain --config=amr:ntu60_xsub --workdir=DIR

The argument is a data set (`amr_jax/data/datasets.py`), or `NAME,runlocal` for a small model and
batch: seconds on two cores. Shared settings: `amr_jax/config/base.py`.
`,published` takes the rules of MAMP's code for bodies, masks, decay, initial values and precision:
docs/published_settings.md.

NW-UCLA, 40 epochs, one CPU core: 2:10 minutes; linear 68.5 %, 1-NN 68.1 % (docs/results.md).
"""

import ml_collections

from amr_jax.config import base
from amr_jax.config.settings import Setting

SETTINGS = {
    "r": Setting(
        6,
        "length of a predicted patch, in patches of the encoder",
        divides="encoder.num_frames / encoder.patch_len",
    ),
    "decoder_self_attention": Setting(False, "queries also attend to each other (MCA + MSA)"),
    **base.TARGET,
    "target": base.with_default(base.TARGET["target"], "motion"),
    "windows": Setting(
        (4, 8, 12), "windows of the motion energy, in frames", divides="encoder.num_frames"
    ),
    "weighting": Setting(
        "ratio",
        "weight by motion energy; none: plain mean squared error",
        choices=("ratio", "power", "exponential", "none"),
    ),
    "k": Setting(0.01, "curvature of the weighting by motion energy", above=0),
    "epsilon": Setting(1e-8, "ε of the weighting 'ratio', in square metres", above=0),
    "energy_threshold": Setting(
        "body", "mean energy that a window is compared with", choices=("body", "joint")
    ),
    "loss_on": Setting("all", "elements that the loss is averaged over", choices=("all", "masked")),
}


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for a data set and options (`amr_jax/data/datasets.py`)."""
    return base.pretraining("amr", argument)
