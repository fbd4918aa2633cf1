r"""Ablations of the newest rivals of AMR: STARS on several encoders, its queue; parts of SLiM.

  amr-jax compare --config=rivals:utd --config.data_dir=DATA --config.seeds=3 --workdir=DIR

The argument is a data set (`amr_jax/data/datasets.py`) or `NAME,runlocal` for small models and
batches. A row that starts from another one has as large a share of `--config.epochs` as its own
epochs are of the other's (`amr_jax/config/comparison.py`). Other options as in configs/compare.py.
"""

import ml_collections

from amr_jax.config.comparison import COLLAPSE, comparison, row, table

QUEUES = (64, 256, 1024, 4096, 32768)

# What STARS measures of `COLLAPSE`.
WATCHED = {"feature_std": COLLAPSE["feature_std"]}


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for a data set and options (`amr_jax/data/datasets.py`)."""
    config = comparison(argument)
    config.reference = "mamp"
    config.ours = "amr"
    config.rows.update(
        {
            "mamp": row("MAMP", "mamp"),
            "amr": row("AMR", "amr"),
            "contrast": row("STARS without a first stage", "stars"),
            "mamp_stars": row("MAMP + STARS", "stars", start_from="mamp"),
            "amr_stars": row("AMR + STARS", "stars", start_from="amr"),
        }
    )
    stars = ("mamp", "mamp_stars", "amr", "amr_stars", "contrast")
    config.tables.stars = table("STARS", stars, metrics=WATCHED)
    queues = {
        f"queue_{n}": row(f"queue of {n:,}", "stars", f"model.queue={n}", start_from="amr")
        for n in QUEUES
    }
    config.rows.update(queues)
    config.tables.queue = table(
        "Length of the queue", ("amr", *queues), plot="model.queue", metrics=WATCHED
    )
    without = {
        "slim": row("SLiM", "slim"),
        "slim_random": row("random masks", "slim", "model.masking=random"),
        "slim_plain": row("views not distorted", "slim", "model.distortion=0.0"),
        "slim_class": row("class tokens alone", "slim", "model.patch_weight=0.0"),
        "slim_patches": row(
            "patches alone", "slim", "model.class_weight=0.0", "model.koleo_weight=0.0"
        ),
    }
    config.rows.update(without)
    config.tables.slim = table("SLiM", without, metrics=COLLAPSE)
    return config
