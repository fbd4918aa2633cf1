r"""All methods in one table: cost, training time and accuracy of each.

  amr-jax compare --config=compare:ntu60_xsub --config.data_dir=DATA \
      --workdir=DIR

The argument is a data set (`amr_jax/data/datasets.py`) or `NAME,runlocal` for small models and
batches: a minute a row on two cores. All rows see the same data for the same number of epochs, or,
with `--config.budget=seconds --config.seconds=36000`, train equally long. `--config.only=amr,mamp`
runs these rows now; what an earlier start in the same workdir finished stays in the table. Results:
docs/results.md.
`,published` runs every row and protocol as published (docs/published_settings.md); S-JEPA's row
then has more epochs.
"""

import ml_collections

from amr_jax.config.comparison import COLLAPSE, comparison, row, table


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for a data set and options (`amr_jax/data/datasets.py`)."""
    config = comparison(argument)
    config.reference = "mamp"
    config.ours = "amr"
    rows = {
        "skeleton_mae": row("SkeletonMAE", "skeleton_mae"),
        "mamp": row("MAMP", "mamp"),
        "sjepa": row("S-JEPA", "sjepa"),
        "gfp": row("GFP", "gfp"),
        "nat": row("NAT", "nat"),
        # The weight is not published (amr_jax/methods/nat.py).
        "nat_con": row("NAT w/ Con", "nat", "model.contrast=0.1"),
        "usdrl": row("USDRL", "usdrl"),
        "slim": row("SLiM", "slim"),
        "amr": row("AMR", "amr"),
        "mamp_stars": row("MAMP + STARS", "stars", start_from="mamp"),
        "amr_stars": row("AMR + STARS", "stars", start_from="amr"),
    }
    config.rows.update(rows)
    config.tables.comparison = table("Methods", rows, metrics=COLLAPSE)
    return config
