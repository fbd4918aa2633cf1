r"""Linear evaluation: BatchNorm and one Dense layer on the frozen encoder's features.

  amr-jax evaluate --config=linear:ntu60_xsub \
      --config.pretrained=DIR --workdir=DIR2

The argument is a data set (`amr_jax/data/datasets.py`) or `NAME,runlocal`.
`runlocal` caches features and takes seconds on two cores. The time is that of encoding the training
split `epochs` times; `--config.features=cached` encodes it once.
`,published` counts absent bodies and encodes in float32, with the learning rate 0.1 and PKU-MMD's
batches: docs/published_settings.md.

NW-UCLA, AMR pre-trained for 200 epochs: 73.5 %; random encoder 49.1 % (docs/results.md).
"""

import ml_collections

from amr_jax.config import arguments, base
from amr_jax.config.evaluation import FEW, FROZEN, evaluation
from amr_jax.config.settings import Setting

SETTINGS = {
    **FROZEN,
    "features": Setting(
        "augmented",
        "augmented: every epoch encodes new views; cached: encoded once",
        choices=("augmented", "cached"),
    ),
    "cached_views": Setting(
        1, "with features=cached: number of augmented views; 0: the test's view", low=0
    ),
    "epochs": Setting(100, "passes over the training split", low=1),
    "batch_size": Setting(256, "sequences of a step", low=1),
    "learning_rate": Setting(0.01, "at the first step", low=0),
}

# MAMP's configs; the AMR paper has 0.01.
PUBLISHED = {
    "": {"learning_rate": 0.1},
    "pku1": {"batch_size": 128},
    "pku2": {"batch_size": 32, "learning_rate": 0.01},
}


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for a data set and options (`amr_jax/data/datasets.py`)."""
    config = evaluation("linear", argument)
    if base.is_small(config.dataset):
        config.update_from_flattened_dict(FEW["linear"])
    if config.dataset == "synthetic":
        config.cached_views = 3
    if arguments.read(argument).runlocal:
        config.features = "cached"
        config.epochs = 20
        config.batch_size = 32
        config.learning_rate = 0.1
    return config
