r"""One table over all small real sets: every method, pre-trained on each set alone and on all.

  amr-jax compare --config=real_sets --config.data_dir=DATA --config.seeds=3 --workdir=DIR

The argument names the sets, `real_sets:nwucla+utd`, or `NAME+NAME,runlocal` for small models and
batches. The command resumes where it stopped, row by row and seed by seed;
`--config.only='*_nwucla,*_utd'` runs these rows now, `--config.epochs=20` thins them all.
The table `real_sets` has a part for each protocol: methods × sets. The table `transfer` leaves one
set out: pre-trained on the others, judged on it, against the set alone and all. Of two protocols of
one data set (`nwucla`, `nwucla_xsub`), a pre-training on several sets holds only one: that which it
is judged on.
"""

from collections.abc import Iterable, Mapping

import ml_collections

from amr_jax.config import arguments
from amr_jax.config.comparison import comparison, pivot, row
from amr_jax.data import datasets

SETS = "nwucla+utd+msr+kard+utkinect+florence+nwucla_xsub"

# Row -> title, config file, overrides.
METHODS = {
    "skeleton_mae": ("SkeletonMAE", "skeleton_mae"),
    "mamp": ("MAMP", "mamp"),
    "sjepa": ("S-JEPA", "sjepa"),
    "gfp": ("GFP", "gfp"),
    "nat": ("NAT", "nat"),
    "usdrl": ("USDRL", "usdrl"),
    "slim": ("SLiM", "slim"),
    "amr": ("AMR", "amr"),
    "recipe": ("AMR, recipe", "amr_small"),
}
# Those that are also pre-trained on all sets, and on all but one.
SEVERAL = ("amr", "recipe")

# Fine-tuning as in docs/results.md; every seed draws other labels.
PROTOCOL_OVERRIDES = (
    "linear.raw_coordinates=True",
    "knn.raw_coordinates=True",
    "finetune.epochs=15",
    "finetune.optim.warmup_epochs=2",
    "semi.epochs=40",
    "semi.batch_size=16",
    "semi.min_steps=0",
    "semi.optim.warmup_epochs=2",
    "semi.draws=1",
)


def get_config(argument: str = SETS) -> ml_collections.ConfigDict:
    """The config for data sets, joined by +, and options (`amr_jax/data/datasets.py`)."""
    *others, last = argument.split("+")
    config = comparison(last)
    names = [*(arguments.read(name).name for name in others), config.dataset]
    config.dataset = "+".join(names)
    config.protocols = ("linear", "knn", "semi", "finetune")
    if not config.runlocal:
        config.epochs = 40
        config.protocol_overrides = PROTOCOL_OVERRIDES
    alone = _add_alone(config, names)
    several = _add_several(config, names) if len(_families(names)) > 1 else {}
    config.reference = config.ours = next(iter(config.rows))
    config.tables.real_sets = pivot(
        "Small real sets", [*alone, *(name for name in several if "_without_" not in name)]
    )
    if several:
        among = [name for name in alone if config.rows[name].title in _titles(SEVERAL, "{}")]
        gains = [
            pair
            for title in _titles(SEVERAL, "{}")
            for pair in ((ALL.format(title), title), (OTHERS.format(title), title))
        ]
        config.tables.transfer = pivot("Leave one set out", [*among, *several], gains)
    return config


ALL, OTHERS = "{}, on all sets", "{}, on the other sets"


def _titles(methods: Iterable[str], form: str) -> list[str]:
    return [form.format(METHODS[method][0]) for method in methods]


def _add_alone(config: ml_collections.ConfigDict, names: Iterable[str]) -> list[str]:
    """Adds a row for every method on every set; returns their names, set by set."""
    made = {
        f"{method}_{datasets.short(name)}": row(*about, dataset=name, judged_on=[name])
        for name in names
        for method, about in METHODS.items()
    }
    config.rows.update(made)
    return list(made)


def _families(names: Iterable[str]) -> Mapping[str, list[str]]:
    """Protocols of the same recordings, by these."""
    families: dict[str, list[str]] = {}
    for name in names:
        families.setdefault(datasets.get(name).recordings, []).append(name)
    return families


def _add_several(config: ml_collections.ConfigDict, names: Iterable[str]) -> list[str]:
    """Adds rows that are pre-trained on all sets, and on all but one; returns their names."""
    families = _families(names)
    usual = [protocols[0] for protocols in families.values()]
    # Otherwise the longest set would be judged cut at the length of the others.
    longest = max(datasets.get(name).max_frames for name in names)
    made = {}
    for method in SEVERAL:
        title, file, *overrides = METHODS[method]
        made[f"{method}_all"] = row(
            ALL.format(title), file, *overrides, dataset="+".join(usual), judged_on=usual
        )
        for protocols in families.values():
            for other in protocols[1:]:
                swapped = [other if name == protocols[0] else name for name in usual]
                made[f"{method}_all_{datasets.short(other)}"] = row(
                    ALL.format(title),
                    file,
                    *overrides,
                    dataset="+".join(swapped),
                    judged_on=[other],
                )
        for first, protocols in zip(usual, families.values(), strict=True):
            made[f"{method}_without_{datasets.short(first)}"] = row(
                OTHERS.format(title),
                file,
                *overrides,
                f"input.max_frames={longest}",
                dataset="+".join(name for name in usual if name != first),
                judged_on=protocols,
            )
    config.rows.update(made)
    return list(made)
