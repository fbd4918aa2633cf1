r"""Retrieval with the frozen encoder's features: 1-NN accuracy, and mean average precision.

  amr-jax evaluate --config=retrieval:ntu60_xsub \
      --config.pretrained=DIR --workdir=DIR2

Test sequences are the queries, training sequences the gallery. The argument is a data set
(`amr_jax/data/datasets.py`) or `NAME,runlocal`. The time is that of encoding both splits once.
`,published` counts absent bodies and encodes in float32: docs/published_settings.md.

NW-UCLA, AMR pre-trained for 200 epochs: mean average precision 31.2 %; random encoder 17.2 %
(docs/results.md).
"""

import ml_collections

from amr_jax.config.evaluation import COMPARED, evaluation

SETTINGS = COMPARED


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for a data set and options (`amr_jax/data/datasets.py`)."""
    return evaluation("retrieval", argument)
