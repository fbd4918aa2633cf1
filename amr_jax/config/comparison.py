"""The settings of comparisons; their files in configs/ add rows and tables."""

import dataclasses
from collections.abc import Iterable, Mapping

import ml_collections

from amr_jax.config import arguments, base, evaluation, settings
from amr_jax.config.settings import Setting, Tree

# Metrics of pre-training that tell of a collapse, and what tables and pages call them: all near 0
# if features have become equal. A method has those that it measures.
COLLAPSE = {
    "feature_std": "feature std in training",
    "class_usage": "prototypes in use",
    "patch_usage": "prototypes in use, patches",
}

COMPARISON: Tree = {
    "dataset": base.PRETRAINING["dataset"],
    "runlocal": Setting(False, "every row in its small variant"),
    "published": Setting(False, "every row as its authors published it"),
    "size": dataclasses.replace(
        base.PRETRAINING["size"], help="the size of every row; None: that of the data set"
    ),
    "data_dir": base.PRETRAINING["data_dir"],
    "seed": Setting(0, "seed of pre-training and evaluation"),
    "seeds": Setting(1, "seeds of every row: seed, seed + 1, …; tables show mean ± std", low=1),
    "budget": Setting("epochs", "what is equal for all rows", choices=("epochs", "seconds")),
    "epochs": Setting(None, "epochs of every row; None: as in the rows' configs", int, low=1),
    "seconds": Setting(3600.0, "training time of a row, with budget=seconds", above=0),
    "overrides": Setting(
        (),
        "for every row's config, such as ('model.mask_ratio=0.8',); for some rows: "
        "('amr_*:model.r=3',)",
    ),
    "validation": Setting(
        False, "train on train[!validation] and judge on train[validation]; not on the test split"
    ),
    "protocols": Setting(
        ("linear", "knn"), "protocols, or variants of them, that evaluate the rows, one column each"
    ),
    "protocol_overrides": Setting((), "for protocols' configs, such as ('linear.epochs=50',)"),
    "only": Setting(None, "rows or tables to train now, such as amr,mamp or amr_*; None: all", str),
    "configs": Setting(None, "another folder of the config files that rows name", str),
    "reference": Setting(None, "the row that speed-ups are relative to", str),
    "ours": Setting(None, "the row that the notes compare with all others", str),
    "rows": {},
    "tables": {},
    "variants": {},
}


def comparison(argument: str) -> ml_collections.ConfigDict:
    """The shared part of comparisons; their config files add rows and tables.

    Args:
      argument: as in `arguments.read`; its options are those of every row.
    """
    chosen = arguments.one_set(argument)
    config = settings.defaults(COMPARISON)
    config.dataset = chosen.name
    config.runlocal, config.published = chosen.runlocal, chosen.published
    config.size = chosen.size
    config.tables = ml_collections.ConfigDict(sort_keys=False)  # rows run in the tables' order
    for readout in evaluation.READOUTS[1:]:
        title = readout.replace("_", " ")
        own = f"readout={readout}"
        for protocol in ("linear", "ridge"):
            config.variants[f"{protocol}_{readout}"] = variant(title, protocol, own)
        config.variants[f"knn_{readout}"] = variant(title, "knn", own)
        config.variants[f"knn_{readout}_whitened"] = variant(
            f"{title}, whitened", "knn", own, "whiten=True"
        )
    config.variants.knn_whitened = variant("whitened", "knn", "whiten=True")
    return config


def variant(title: str, protocol: str, *overrides: str) -> ml_collections.ConfigDict:
    """A variant of a protocol; `protocols` may name it beside the protocol itself.

    Args:
      title: what tables add to the title of the protocol.
      protocol: its name.
      overrides: of its config, as 'readout=joint'.
    """
    return ml_collections.ConfigDict({"title": title, "protocol": protocol, "overrides": overrides})


def row(
    title: str,
    config: str,
    *overrides: str,
    evaluation: Iterable[str] = (),
    dataset: str | None = None,
    judged_on: Iterable[str] = (),
    start_from: str | None = None,
) -> ml_collections.ConfigDict:
    """A row of a comparison: a pre-training, evaluated by every protocol.

    Args:
      title: its name in tables.
      config: the config file.
      overrides: of this config, as 'model.contrast=0.1'.
      evaluation: overrides of the config of every protocol, as 'bodies=all'.
      dataset: what it is pre-trained on; None: the data set of the comparison.
      judged_on: the data sets that it is evaluated on, each by every protocol, in ROW/SET/PROTOCOL;
        none: that of the comparison, in ROW/PROTOCOL.
      start_from: name of a row, earlier in the tables, whose encoder this one starts from. Epochs
        and seconds that the comparison sets are those of the first stage: this one has as large a
        share of them as its config's epochs are of the other's.
    """
    made = {"title": title, "config": config, "overrides": overrides}
    made |= {"evaluation": tuple(evaluation), "judged_on": tuple(judged_on)}
    optional = {"dataset": dataset, "start_from": start_from}
    return ml_collections.ConfigDict(made | {key: x for key, x in optional.items() if x})


def ensemble(title: str, members: Mapping[str, float]) -> ml_collections.ConfigDict:
    """A row that trains nothing: the softmax of other rows, weighted and summed.

    Args:
      title: its name in tables.
      members: name of a row -> its weight.
    """
    return ml_collections.ConfigDict(
        {"title": title, "members": tuple(members), "weights": tuple(map(float, members.values()))}
    )


def table(
    title: str,
    rows: Iterable[str],
    plot: str = "time",
    scale: str = "log",
    by: str | None = None,
    metrics: Mapping[str, str] | None = None,
) -> ml_collections.ConfigDict:
    """A table of a comparison.

    Args:
      title: above it.
      rows: by name.
      plot: what the picture shows accuracy over: 'time' (of training), or a key of the rows'
        configs, as 'model.r'.
      scale: of that axis, 'log' or 'linear'.
      by: a second key: the picture has a line for each of its values.
      metrics: further columns: name of a metric of pre-training (metrics.jsonl) -> head. The table
        has its last value.
    """
    made = {"title": title, "rows": tuple(rows), "plot": plot, "scale": scale}
    made |= {"metrics": dict(metrics or {})} | ({"by": by} if by else {})
    return ml_collections.ConfigDict(made)


def pivot(
    title: str, rows: Iterable[str], gains: Iterable[tuple[str, str]] = ()
) -> ml_collections.ConfigDict:
    """A table of several data sets: a part for each protocol, titles of rows × data sets.

    Rows with equal titles share a line; each is judged on its own data sets (`row`).

    Args:
      title: above it.
      rows: by name.
      gains: (title, title) of two lines: a further line has their difference.
    """
    made = {"title": title, "rows": tuple(rows), "gains": tuple(gains)}
    return ml_collections.ConfigDict(made)
