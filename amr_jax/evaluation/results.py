"""The results of an evaluation: results.json, the files beside it, and the table."""

import dataclasses
from collections.abc import Mapping

import ml_collections
import numpy as np
from etils import epath

from amr_jax.data.split import Split
from amr_jax.evaluation import latex, report, score_file
from amr_jax.evaluation.encoder_under_test import Subject
from amr_jax.evaluation.protocols import PROTOCOLS
from amr_jax.evaluation.task import Outcome
from amr_jax.evaluation.twins import Twins
from amr_jax.run import workdir

RESULTS_FILE = "results.json"

# The encoders in the table of a protocol that trains them.
TITLES = {"pretrained": "pretrained (fine-tuned)", "random": "random (trained from scratch)"}


def of(
    subject: Subject,
    train: Split,
    test: Split,
    twins: Twins | None,
    outcomes: Mapping[str, Outcome],
    seconds: Mapping[str, float],
) -> dict:
    """The content of results.json, without its provenance."""
    config, pretraining = subject.config, subject.pretraining
    encoders = {
        name: {
            **outcome.metrics,
            **({"each_draw": outcome.draws} if outcome.draws else {}),
            "seconds": seconds[name],
        }
        for name, outcome in outcomes.items()
    }
    origin = {
        "workdir": str(config.pretrained),
        "step": subject.step,
        "method": pretraining.get("method"),
        "dataset": pretraining.dataset,
        "stream": pretraining.input.stream,
    }
    return {
        "protocol": config.protocol,
        "readout": config.get("readout"),
        "dataset": config.dataset,
        "encoders": encoders,
        "pretraining": origin if config.pretrained else None,
        "adaptation": dataclasses.asdict(subject.adaptation) if subject.adaptation else None,
        "train_sequences": len(train.label),
        "test_sequences": len(test.label),
        "test_sequences_with_twin": twins.count if twins else 0,
        "num_classes": len(test.class_names),
        "classes_in_test": len(np.unique(test.label)),
        "classes_only_in_test": untrained(train, test),
    }


def untrained(train: Split, test: Split) -> list[str]:
    """The classes of the test split without a training sequence."""
    return [test.class_names[i] for i in np.setdiff1d(test.label, train.label)]


def doubts(train: Split, test: Split) -> list[str]:
    """What is odd about the splits of an evaluation, one sentence each."""
    told = []
    if both := len(np.intersect1d(train.names, test.names)):
        told.append(
            f"{both:,} of {len(test.names):,} test sequences are training sequences, too: the "
            "accuracy says little about new ones."
        )
    if len(test.class_names) == 1:
        told.append(f"all sequences are of one class, {test.class_names[0]!r}: all are right.")
    if names := untrained(train, test):
        count = int(np.isin(test.label, train.label, invert=True).sum())
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        told.append(
            f"{len(names)} classes of the test split have no training sequence "
            f"({', '.join(names[:5])}{more}): {count:,} of {len(test.label):,} test sequences "
            "cannot be right."
        )
    return told


def write_files(
    folder: epath.Path,
    config: ml_collections.ConfigDict,
    test: Split,
    outcomes: Mapping[str, Outcome],
) -> None:
    """Writes confusion matrices, accuracies per class, and scores where there are logits."""
    names = test.class_names
    confusions = {
        encoder: report.confusion_matrix(test.label, outcome.predictions, len(names))
        for encoder, outcome in outcomes.items()
    }
    for encoder, confusion in confusions.items():
        top1 = 100 * np.trace(confusion) / confusion.sum()
        title = f"{config.protocol} on {config.dataset}, {encoder} encoder: top-1 {top1:.2f} %"
        workdir.write(folder / f"confusion_{encoder}.csv", report.confusion_csv(names, confusion))
        picture = report.confusion_png(names, confusion, title)
        workdir.write(folder / f"confusion_{encoder}.png", picture)
    _write_tables(folder, config, outcomes, report.per_class(names, confusions))
    logits = {name: o.scores for name, o in outcomes.items() if o.scores is not None}
    if logits:
        score_file.write(folder, score_file.Scores(test.names, test.label, names, logits))


def _write_tables(
    folder: epath.Path,
    config: ml_collections.ConfigDict,
    outcomes: Mapping[str, Outcome],
    per_class: list[list],
) -> None:
    """Writes the comparison of encoders and the accuracies per class, as CSV and as LaTeX."""
    metrics = {name: outcome.metrics for name, outcome in _titled(config, outcomes).items()}
    on = f"{config.protocol} on {config.dataset}"
    keys = list(dict.fromkeys(key for of_one in metrics.values() for key in of_one))
    numbers = ([name, *(of_one.get(key) for key in keys)] for name, of_one in metrics.items())
    workdir.write(folder / "results.csv", report.csv_text([["encoder", *keys], *numbers]))
    head, lines = report.cells(metrics, PROTOCOLS[config.protocol].columns)
    shown = [i for i in range(len(head)) if any(line[i] for line in lines)]
    head, *lines = ([line[i] for i in shown] for line in (head, *lines))
    text = latex.table(head, lines, on, f"{config.protocol}-{config.dataset}")
    workdir.write(folder / "results.tex", text)
    workdir.write(folder / "per_class.csv", report.csv_text(per_class))
    (_, *head), *lines = per_class
    lines = [line[1:] for line in lines]
    text = latex.table(head, lines, f"{on}, by class", f"{config.protocol}-{config.dataset}-class")
    workdir.write(folder / "per_class.tex", text)


def _titled(
    config: ml_collections.ConfigDict, outcomes: Mapping[str, Outcome]
) -> dict[str, Outcome]:
    """The outcomes by the titles of their encoders in tables."""
    titles = TITLES if "scratch" in config else {}
    return {titles.get(name, name): outcome for name, outcome in outcomes.items()}


def table(config: ml_collections.ConfigDict, outcomes: Mapping[str, Outcome]) -> str:
    """The table of the encoders, each draw of a protocol of several, and the noise."""
    rows = _titled(config, outcomes)
    metrics = {name: outcome.metrics for name, outcome in rows.items()}
    draws = [f"{name}: {report.draws(o.draws)}" for name, o in rows.items() if o.draws]
    num_test = next(iter(outcomes.values())).predictions.shape[-1]
    under = [*draws, report.noise(metrics, num_test)]
    return "\n".join([report.table(metrics, PROTOCOLS[config.protocol].columns), *under])
