r"""Ablations of AMR: the paper's, and of choices that it leaves open; a table for each.

  amr-jax compare --config=ablation:ntu60_xsub --config.data_dir=DATA \
      --workdir=DIR

The argument is a data set (`amr_jax/data/datasets.py`) or `NAME,runlocal` for small models and
batches: a minute a row on two cores. A row that several tables show is trained once: `full`, AMR
with its settings for the data set, is in all of them. `--config.seeds=3` trains every row with
three seeds. Other options as in configs/compare.py. Results: docs/results.md.
`,published` runs every row and protocol as published: docs/published_settings.md.
"""

from collections.abc import Callable, Iterable

import ml_collections

from amr_jax.config import base, settings
from amr_jax.config.comparison import comparison, row, table

# With these k, both forms give weight ½ to a window with a hundredth of the mean energy, as the
# ratio with k = 0.01 does, so that they differ only in shape.
POWER_K = 0.15  # 0.01^k = ½: k = ln 2 / ln 100
EXPONENTIAL_K = 69.0  # 1 − exp(−0.01·k) = ½: k = 100 · ln 2

WEIGHT = {"weight": "mean weight"}  # a metric of AMR


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for a data set and options (`amr_jax/data/datasets.py`)."""
    config = comparison(argument)
    config.reference = config.ours = "full"
    config.rows.full = row("full AMR: DD + FR", "amr")
    own = base.pretraining("amr", argument)
    _add_parts(config, own)
    _add_weighting(config, own)
    _add_targets(config)
    _add_sizes(config, own)
    _add_choices(config, own)
    return config


def by(
    config: ml_collections.ConfigDict,
    own: ml_collections.ConfigDict,
    key: str,
    values: Iterable,
    title: str,
    name: Callable[[float | str], str],
    *overrides: str,
    evaluation: Iterable[str] = (),
) -> list[str]:
    """Adds a row for each value of a setting of AMR, except that of `full`, its own.

    Args:
      config: of the comparison.
      own: AMR's config.
      key: the setting.
      values: the value of `full` is added.
      title, evaluation: of a row, as in `comparison.row`, with {} for the value.
      name: value -> name of the row.
      overrides: further ones of each row.

    Returns:
      The names of the rows in the order of the values, `full` among them.
    """
    full = settings.lookup(own, key)
    names = {value: "full" if value == full else name(value) for value in {*values, full}}
    for value in sorted(names.keys() - {full}):
        judged = [text.format(value) for text in evaluation]
        config.rows[names[value]] = row(
            title.format(value), "amr", f"{key}={value}", *overrides, evaluation=judged
        )
    return [names[value] for value in sorted(names)]


def _add_parts(config: ml_collections.ConfigDict, own: ml_collections.ConfigDict) -> None:
    """The parts of the method, the attention of its decoder, r, and windows."""
    num_times, r = own.encoder.num_frames // own.encoder.patch_len, own.model.r
    num_predicted = num_times * own.encoder.num_joints // r
    motion = ("model.target=motion", "model.normalisation=patch")  # as AMR's
    rows = {
        "baseline1": row(
            "Baseline 1: decoder masking",
            "skeleton_mae",
            *motion,
            f"model.num_decoded={num_predicted}",
        ),
        "baseline2": row("Baseline 2: downsampling", "skeleton_mae", *motion, f"model.pool={r}"),
        "dd": row("DD: decoupled decoder, plain MSE", "amr", "model.weighting=none"),
        "mca_msa": row(
            "MCA + MSA: queries also attend to each other",
            "amr",
            "model.decoder_self_attention=True",
        ),
    }
    windows = {f"window_{n}": row(f"n = {n}", "amr", f"model.windows=({n},)") for n in (4, 8, 12)}
    config.rows.update(rows | windows)
    divisors = [n for n in range(1, num_times + 1) if num_times % n == 0]

    config.tables.components = table("Components", ("baseline1", "baseline2", "dd", "full"))
    config.tables.decoder = table("Attention of the decoder (full AMR: MCA)", ("full", "mca_msa"))
    config.tables.r = table(
        f"Patches per predicted patch (full AMR: r = {r})",
        by(config, own, "model.r", divisors, "r = {}", "r_{}".format),
        plot="model.r",
    )
    config.tables.windows = table(
        "Windows of the motion energy (full AMR: 4, 8 and 12 fused)", (*windows, "full")
    )


def _add_weighting(config: ml_collections.ConfigDict, own: ml_collections.ConfigDict) -> None:
    """The form of the weighting by motion energy, and its curvature."""
    rows = {
        "power": row("power", "amr", "model.weighting=power", f"model.k={POWER_K}"),
        "exponential": row(
            "exponential", "amr", "model.weighting=exponential", f"model.k={EXPONENTIAL_K}"
        ),
    }
    config.rows.update(rows)
    known = {0.001: "ratio_low", 0.1: "ratio_high"}  # as in workdirs of earlier versions
    curvatures = by(
        config,
        own,
        "model.k",
        (0.001, 0.01, 0.1, 1.0, 10.0),
        "ratio, k = {:g}",
        lambda k: known.get(k, f"k_{k:g}"),
    )
    config.tables.weighting = table(
        "Weighting by motion energy (full AMR: ratio, k = 0.01)",
        ("ratio_low", "full", "ratio_high", *rows, "dd"),
        metrics=WEIGHT,
    )
    config.tables.k = table(
        f"Curvature of the weighting (full AMR: k = {own.model.k:g})",
        curvatures,
        plot="model.k",
        metrics=WEIGHT,
    )


def _add_targets(config: ml_collections.ConfigDict) -> None:
    """Targets and their normalisation; 'full' is (motion, patch), and 'dd' the same unweighted."""
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
    config.rows.update(targets)
    config.tables.targets = table(
        "Targets and their normalisation (full AMR: motion, patch)", ("full", "dd", *targets)
    )


def _add_sizes(config: ml_collections.ConfigDict, own: ml_collections.ConfigDict) -> None:
    """The mask and the decoder, around the sizes that AMR has for the data set."""
    ratio, depth = own.model.mask_ratio, own.model.decoder_depth
    config.tables.mask_ratio = table(
        f"Share of the patches that is hidden (full AMR: {ratio:g})",
        by(
            config,
            own,
            "model.mask_ratio",
            (0.75, 0.8, 0.85, 0.9, 0.95),
            "mask ratio {:g}",
            lambda ratio: f"mask_{100 * ratio:.0f}",
            "model.num_visible=None",  # a number of patches would replace the ratio
        ),
        plot="model.mask_ratio",
        scale="linear",
    )
    depths = {1, 2, depth - 2, depth - 1, depth + 1, depth + 3}
    config.tables.decoder_depth = table(
        f"Blocks of the decoder (full AMR: {depth})",
        by(
            config,
            own,
            "model.decoder_depth",
            (n for n in depths if n > 0),
            "depth {}",
            "depth_{}".format,
        ),
        plot="model.decoder_depth",
        scale="linear",
    )


def _add_choices(config: ml_collections.ConfigDict, own: ml_collections.ConfigDict) -> None:
    """Settings with two values: what counts in the loss, and absent bodies."""
    config.tables.loss_on = table(
        f"Frames in the loss (full AMR: {own.model.loss_on})",
        by(config, own, "model.loss_on", ("all", "masked"), "{} frames", "loss_{}".format),
    )
    config.tables.energy_threshold = table(
        "Mean energy that a window is compared with (full AMR: that of the "
        f"{own.model.energy_threshold})",
        by(
            config,
            own,
            "model.energy_threshold",
            ("body", "joint"),
            "mean of the {}",
            "threshold_{}".format,
        ),
        metrics=WEIGHT,
    )
    config.tables.bodies = table(
        f"Absent second bodies, in pre-training and evaluation (full AMR: {own.input.bodies})",
        by(
            config,
            own,
            "input.bodies",
            base.BODIES,
            "bodies: {}",
            "bodies_{}".format,
            "input.second_body=zeros",  # the only one that fits both
            evaluation=("bodies={}", "second_body=zeros"),
        ),
    )
