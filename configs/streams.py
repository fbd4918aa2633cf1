r"""Three streams and their ensemble: AMR on joints, bones and motion, and the sum of their scores.

  amr-jax compare --config=streams:ntu60_xsub --config.data_dir=DATA \
      --workdir=DIR

The argument is a data set (`amr_jax/data/datasets.py`) or `NAME,runlocal` for small models and
batches. Each stream is pre-trained and evaluated by itself; the row 'ensemble' sums the softmax of
their logits with the weights `--config.rows.ensemble.weights="(1.0, 1.0, 1.0)"`, once for every
seed and protocol. `--config.protocols="('linear','finetune')"` adds fine-tuning. Other options as
in configs/compare.py.
`,published` runs every row and protocol as published: docs/published_settings.md.
"""

import ml_collections

from amr_jax.config import base
from amr_jax.config.comparison import comparison, ensemble, row, table


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for a data set and options (`amr_jax/data/datasets.py`)."""
    config = comparison(argument)
    config.reference = "joint"
    config.ours = "ensemble"
    config.protocols = ("linear",)  # 1-NN has no scores to sum
    streams = {
        stream: row(f"{stream} stream", "amr", f"input.stream={stream}") for stream in base.STREAMS
    }
    config.rows.update(streams)
    config.rows.ensemble = ensemble("ensemble of the streams", dict.fromkeys(streams, 1.0))
    config.tables.streams = table("Streams", (*streams, "ensemble"))
    return config
