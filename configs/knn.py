r"""Cosine 1-NN on the frozen encoder's features: each test sequence takes its neighbour's class.

  amr-jax evaluate --config=knn:ntu60_xsub \
      --config.pretrained=DIR --workdir=DIR2

The argument is a data set (`amr_jax/data/datasets.py`) or `NAME,runlocal`.
The time is that of encoding both splits once.
`,published` counts absent bodies and encodes in float32: docs/published_settings.md.

NW-UCLA, AMR pre-trained for 200 epochs: 69.2 %; random encoder 45.3 % (docs/results.md).
"""

import ml_collections

from amr_jax.config.evaluation import COMPARED, evaluation
from amr_jax.config.settings import Setting

SETTINGS = {
    **COMPARED,
    "k": Setting(1, "neighbours that vote; at most the training sequences", low=1),
}


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for a data set and options (`amr_jax/data/datasets.py`)."""
    return evaluation("knn", argument)
