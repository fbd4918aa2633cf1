r"""The paper's ablations of AMR, of the weighting and of the target: a table for each.

  amr-jax compare --config=ablation:ntu60_xsub --config.data_dir=DATA \
      --workdir=DIR

The argument is a data set (`amr_jax/data/datasets.py`) or `NAME,runlocal` for small models and
batches: a minute a row on two cores. A row that several tables show is trained once. Options as in
configs/compare.py. Results: docs/results.md.
"""

import ml_collections

from amr_jax.config import base
from amr_jax.config.comparison import comparison, row, table

R = 6  # of configs/amr.py
# With these k, both forms give weight ½ to a window with a hundredth of the mean energy, as the
# ratio with k = 0.01 does, so that they differ only in shape.
POWER_K = 0.15  # 0.01^k = ½: k = ln 2 / ln 100
EXPONENTIAL_K = 69.0  # 1 − exp(−0.01·k) = ½: k = 100 · ln 2


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for a data set and options (`amr_jax/data/datasets.py`)."""
    config = comparison(argument)
    config.reference = "full"
    config.ours = "full"
    encoder = base.pretraining("amr", argument).encoder
    num_times = encoder.num_frames // encoder.patch_len
    num_predicted = num_times * encoder.num_joints // R

    motion = ("model.target=motion", "model.normalisation=patch")  # as AMR's
    rows = {
        "baseline1": row(
            "Baseline 1: decoder masking",
            "skeleton_mae",
            *motion,
            f"model.num_decoded={num_predicted}",
        ),
        "baseline2": row("Baseline 2: downsampling", "skeleton_mae", *motion, f"model.pool={R}"),
        "dd": row("DD: decoupled decoder, plain MSE", "amr", "model.weighting=none"),
        "full": row("full AMR: DD + FR", "amr"),
        "mca_msa": row(
            "MCA + MSA: queries also attend to each other",
            "amr",
            "model.decoder_self_attention=True",
        ),
        "ratio_low": row("ratio, k = 0.001", "amr", "model.k=0.001"),
        "ratio_high": row("ratio, k = 0.1", "amr", "model.k=0.1"),
        "power": row("power", "amr", "model.weighting=power", f"model.k={POWER_K}"),
        "exponential": row(
            "exponential", "amr", "model.weighting=exponential", f"model.k={EXPONENTIAL_K}"
        ),
    }
    # Choices that the paper leaves open; 'full' is (motion, patch), and 'dd' the same unweighted.
    targets = {
        f"{target}_{normalisation}": row(
            f"{target}, {normalisation}",
            "amr",
            f"model.target={target}",
            f"model.normalisation={normalisation}",
        )
        for target in ("motion", "joint")
        for normalisation in ("patch", "timestamps", "none")
        if (target, normalisation) != ("motion", "patch")
    }
    targets["joint_none_mse"] = row(
        "joint, none, plain MSE",
        "amr",
        "model.target=joint",
        "model.normalisation=none",
        "model.weighting=none",
    )
    windows = {f"window_{n}": row(f"n = {n}", "amr", f"model.windows=({n},)") for n in (4, 8, 12)}
    # By r; 'full' is the row with AMR's own.
    by_r = {
        r: row(f"r = {r}", "amr", f"model.r={r}")
        for r in range(1, num_times + 1)
        if num_times % r == 0
    }
    rows_of_r = [f"r_{r}" if r != R else "full" for r in by_r]
    config.rows.update(rows | targets | windows | {f"r_{r}": by_r[r] for r in by_r if r != R})

    config.tables.components = table("Components", ("baseline1", "baseline2", "dd", "full"))
    config.tables.decoder = table("Attention of the decoder (full AMR: MCA)", ("full", "mca_msa"))
    config.tables.r = table(f"Patches per predicted patch (full AMR: r = {R})", rows_of_r, plot="r")
    config.tables.windows = table(
        "Windows of the motion energy (full AMR: 4, 8 and 12 fused)", (*windows, "full")
    )
    config.tables.weighting = table(
        "Weighting by motion energy (full AMR: ratio, k = 0.01)",
        ("ratio_low", "full", "ratio_high", "power", "exponential", "dd"),
    )
    config.tables.targets = table(
        "Targets and their normalisation (full AMR: motion, patch)", ("full", "dd", *targets)
    )
    return config
