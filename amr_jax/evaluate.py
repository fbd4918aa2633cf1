r"""Evaluation: what a pre-trained encoder is worth, beside one that learned nothing.

  python -m amr_jax.evaluate --config=configs/linear.py:ntu60_xsub \
      --config.pretrained=DIR --workdir=DIR2

Architecture, layout, stream, centring and augmentation are those of the pre-training run. With
`config.adapt` the data set may have other joints, and clips another number of frames: the encoder
is adapted (evaluation/adapt.py), and the data set's own defaults say how clips are centred and
augmented. The protocol (evaluation/protocols) runs twice: on the run's encoder, and on a randomly
initialised one of the same architecture (unless `config.random_encoder` is False: a comparison
needs that only once). Where the protocol trains the encoder, the second is training from scratch;
with `config.pretrained` empty it is all there is, with the architecture of `config.scratch`.
Started again in the same workdir with the same config, it does its work again and replaces the
results; `results.json` is written last, and taken away first. Where a classifier is trained, that
of the first encoder is kept as `model.safetensors`, for `amr_jax.predict` and `amr_jax.export`.
"""

import dataclasses
import datetime
import functools
import json
import os
import time
from collections.abc import Callable

import jax
import ml_collections
import numpy as np
from etils import epath

from amr_jax.config import settings
from amr_jax.data import division
from amr_jax.data.division import Divided
from amr_jax.evaluation import adapt as transfer
from amr_jax.evaluation import encoder_under_test, report, score_file
from amr_jax.evaluation.protocols import PROTOCOLS, Outcome, Task
from amr_jax.evaluation.protocols.features import Split
from amr_jax.inference import model_file, trained
from amr_jax.inference.apply import Model
from amr_jax.run import console, lock, metrics, paths, sharding, workdir
from amr_jax.run.cli import run_with_config

RESULTS_FILE = "results.json"

# What may differ between two starts in one workdir: none of it changes a number.
FREE_KEYS = {"data_dir", "encode_batch_size", "random_encoder"}

# The encoders in the table of a protocol that trains them.
TITLES = {"pretrained": "pretrained (fine-tuned)", "random": "random (trained from scratch)"}


def run(config: ml_collections.ConfigDict, folder: os.PathLike | str) -> dict:
    """Evaluates, writes the files, prints the table.

    Args:
      config: of configs/linear.py, configs/knn.py, …
      folder: for config.json, results.json, metrics.jsonl, per_class.csv, a confusion matrix of
        each encoder as .csv (counts) and .png, and where there are logits scores.npz and, of one
        classifier, model.safetensors.

    Returns:
      What results.json holds.

    Raises:
      UserError: wrong settings, no such pre-training run, no records, joints that do not match; a
        workdir in use.
    """
    began, folder = time.monotonic(), paths.absolute(folder)
    settings.require_choice("config.protocol", config.protocol, PROTOCOLS)
    learned, pretraining, step = encoder_under_test.source(config)
    config = encoder_under_test.resolve(config, pretraining)
    seen = transfer.settings(config, pretraining)
    encoder = encoder_under_test.make_encoder(config, seen)
    encoders, adaptation = encoder_under_test.to_judge(encoder, learned, config, pretraining)

    mesh = sharding.make_mesh()
    splits = encoder_under_test.open_records(config, seen)
    # The encoder too: each process has looked for the newest checkpoint by itself.
    found = "; ".join(split.summary() for split in splits)
    workdir.agree(folder, config, f"{found}; encoder of step {step}")
    train, test = (division.load(split, mesh) for split in splits)
    with lock.hold(folder):
        _start(folder, config)
        console.say(_banner(config, pretraining, step, adaptation, mesh, train, test))
        task = functools.partial(
            Task,
            encoder=encoder,
            train=Split(train),
            test=Split(test),
            num_classes=len(test.class_names),
            **encoder_under_test.views(config, seen),
        )

        writer = metrics.MetricWriter(folder, resume_step=0)
        outcomes, seconds = {}, {}
        for name, params in encoders.items():
            start = time.monotonic()
            params = sharding.put(params, sharding.replicated(mesh))
            outcomes[name] = PROTOCOLS[config.protocol].run(
                task(params=params), config, _log(writer, name)
            )
            seconds[name] = round(time.monotonic() - start, 2)
        writer.close()

        results = {
            "protocol": config.protocol,
            "dataset": config.dataset,
            "encoders": {
                name: {
                    **outcome.metrics,
                    **({"each_draw": outcome.draws} if outcome.draws else {}),
                    "seconds": seconds[name],
                }
                for name, outcome in outcomes.items()
            },
            "pretraining": None
            if learned is None
            else {
                "workdir": str(config.pretrained),
                "step": step,
                "method": pretraining.method,
                "dataset": pretraining.dataset,
                "stream": pretraining.input.stream,
            },
            "adaptation": dataclasses.asdict(adaptation) if adaptation else None,
            "train_sequences": len(train.label),
            "test_sequences": len(test.label),
            "num_classes": len(test.class_names),
            "classes_in_test": len(np.unique(test.label)),
            "versions": workdir.versions(),
            "seconds": round(time.monotonic() - began, 2),
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        model = None
        if classifier := next(iter(outcomes.values())).classifier:
            model = trained.of_evaluation(classifier, encoder, config, seen, test, results)
        if jax.process_index() == 0:
            write(folder, config, test, outcomes, model, results)
        titles = TITLES if "scratch" in config else {}
        rows = {titles.get(name, name): outcome for name, outcome in outcomes.items()}
        found = {name: outcome.metrics for name, outcome in rows.items()}
        console.say("\n" + report.table(found, PROTOCOLS[config.protocol].columns))
        for name, outcome in rows.items():
            if outcome.draws:
                console.say(f"{name}: {report.draws(outcome.draws)}")
        console.say(f"\nall numbers, per class and confusion matrices: {folder}")
        return results


def write(
    folder: os.PathLike | str,
    config: ml_collections.ConfigDict,
    test: Divided,
    outcomes: dict[str, Outcome],
    model: Model | None,
    results: dict,
) -> None:
    """The files of a finished evaluation, results.json last."""
    folder, names = epath.Path(folder), test.class_names
    confusions = {
        encoder: report.confusion_matrix(test.label, outcome.predictions, len(names))
        for encoder, outcome in outcomes.items()
    }
    for encoder, confusion in confusions.items():
        top1 = 100 * np.trace(confusion) / confusion.sum()
        title = f"{config.protocol} on {config.dataset}, {encoder} encoder: top-1 {top1:.2f} %"
        workdir.write(folder / f"confusion_{encoder}.csv", report.confusion_csv(names, confusion))
        workdir.write(
            folder / f"confusion_{encoder}.png", report.confusion_png(names, confusion, title)
        )
    workdir.write(folder / "per_class.csv", report.per_class_csv(names, confusions))
    logits = {name: o.scores for name, o in outcomes.items() if o.scores is not None}
    if logits:
        score_file.write(folder, score_file.Scores(test.names, test.label, names, logits))
    if model is not None:
        model_file.write(folder / model_file.NAME, model)
    # Strict JSON has no NaN; no metric should be one.
    workdir.write(folder / RESULTS_FILE, json.dumps(results, indent=2, allow_nan=False) + "\n")


def _start(folder: os.PathLike | str, config: ml_collections.ConfigDict) -> None:
    """Makes the workdir; results of an earlier start, if any, are taken away."""
    workdir.start(folder, config, FREE_KEYS)
    if (epath.Path(folder) / RESULTS_FILE).exists():
        console.say(f"{folder} holds a finished evaluation with this config: it is done again.")
    if jax.process_index() == 0:
        for earlier in (RESULTS_FILE, model_file.NAME):
            (epath.Path(folder) / earlier).unlink(missing_ok=True)


def _log(writer: metrics.MetricWriter, encoder: str) -> Callable[[int, dict[str, float]], None]:
    """What a protocol calls after every epoch: numbers to the file, now and then a line."""
    shown = time.monotonic()

    def log(epoch: int, scalars: dict[str, float]) -> None:
        nonlocal shown
        writer.write(epoch, {f"{encoder}/{name}": value for name, value in scalars.items()})
        if time.monotonic() - shown > 5:
            shown = time.monotonic()
            console.say(
                f"{encoder}  epoch {epoch}  {'  '.join(f'{k} {v:.4f}' for k, v in scalars.items())}"
            )

    return log


def _banner(config, pretraining, step, adaptation, mesh, train, test) -> str:
    """What is evaluated, and where."""
    counts = ", ".join(
        f"{name} {len(split.label):,} sequences with {len(split.length):,} bodies"
        for name, split in ((config.train_split, train), (config.test_split, test))
    )
    encoder = "untrained, as config.scratch says"
    if config.pretrained:
        encoder = (
            f"{config.pretrained}, step {step:,} ({pretraining.method} on {pretraining.dataset})"
        )
    lines = {
        "devices": f"{mesh.size} × {jax.devices()[0].device_kind}, "
        f"{jax.process_count()} process(es)",
        "encoder": f"{encoder}, {pretraining.input.stream} stream, {config.dtype}",
        **(adaptation.lines() if adaptation else {}),
        "data": f"{config.dataset}: {counts}; {len(test.class_names)} classes",
        "protocol": config.protocol,
    }
    return console.aligned(lines)


if __name__ == "__main__":
    run_with_config(run, workdir="folder for the results", several_hosts=True)
