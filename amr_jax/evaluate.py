r"""Evaluation: the accuracy of a pre-trained encoder, beside that of a random one.

  python -m amr_jax.evaluate --config=configs/linear.py:ntu60_xsub \
      --config.pretrained=DIR --workdir=DIR2

Architecture, layout, stream, centring and augmentation are those of the pre-training run. With
`config.adapt` the data set may have other joints, and clips another number of frames: the encoder
is adapted (evaluation/adapt.py), and clips are centred and augmented as the data set's own defaults
define. The protocol (evaluation/protocols) runs twice: on the run's encoder, and on a randomly
initialised one of the same architecture (unless `config.random_encoder` is False: a comparison
needs it only once). Where the protocol trains the encoder, the second run is training from scratch.
Without `config.pretrained` it is the only run, with the architecture of `config.scratch`.

Started again in the same workdir with the same config, the command evaluates again and replaces the
results: `results.json` is removed first and written last. A protocol that trains a classifier
leaves that of the first encoder in `model.safetensors`, for `amr_jax.predict` and `amr_jax.export`.
"""

if __name__ == "__main__":  # before JAX is imported: --help answers at once
    from amr_jax.__main__ import script

    script("evaluate")


import argparse
import dataclasses
import json
import os
import time
from collections.abc import Callable, Mapping

import jax
import ml_collections
import numpy as np

from amr_jax.config import settings
from amr_jax.data.split import DeviceSplit, Split, place, read
from amr_jax.evaluation import adapt as transfer
from amr_jax.evaluation import encoder_under_test, report, score_file
from amr_jax.evaluation.protocols import PROTOCOLS, Outcome, Task
from amr_jax.inference import load, model_file
from amr_jax.models.encoder import Encoder
from amr_jax.run import console, sharding, workdir
from amr_jax.run.run import Run, describe_devices

RESULTS_FILE = "results.json"

# Keys that may differ between two starts in one workdir: they change no number.
FREE_KEYS = {"data_dir", "encode_batch_size", "random_encoder"}

# The encoders in the table of a protocol that trains them.
TITLES = {"pretrained": "pretrained (fine-tuned)", "random": "random (trained from scratch)"}

_SHOW_EVERY_S = 5.0  # seconds between lines about a protocol's epochs


@dataclasses.dataclass(frozen=True)
class Subject:
    """The encoder that is evaluated.

    Attributes:
      config: of the evaluation, resolved.
      pretraining: config of the pre-training run; without one, of `config.scratch`.
      step: of the run's checkpoint; None without one.
      seen: `pretraining`, with clips as the encoder sees them after adapting it.
      encoder: the architecture.
      params: parameters to evaluate, on the host, by name: 'pretrained', 'random'.
      adaptation: which joints were matched; None if the encoder was not adapted.
    """

    config: ml_collections.ConfigDict
    pretraining: ml_collections.ConfigDict
    step: int | None
    seen: ml_collections.ConfigDict
    encoder: Encoder
    params: dict[str, dict]
    adaptation: transfer.Adaptation | None

    @classmethod
    def of(cls, config: ml_collections.ConfigDict) -> "Subject":
        """Loads the encoder that a config names.

        Raises:
          UserError: no such pre-training run, or settings that do not fit it.
        """
        learned, pretraining, step = encoder_under_test.source(config)
        config = encoder_under_test.resolve(config, pretraining)
        seen = transfer.settings(config, pretraining)
        encoder = encoder_under_test.make_encoder(config, seen)
        params, adaptation = encoder_under_test.to_judge(encoder, learned, config, pretraining)
        return cls(config, pretraining, step, seen, encoder, params, adaptation)


def run(config: ml_collections.ConfigDict, folder: os.PathLike | str) -> dict:
    """Evaluates, writes the files, prints the table.

    Args:
      config: of configs/linear.py, configs/knn.py, …
      folder: for config.json, results.json, metrics.jsonl, per_class.csv, a confusion matrix of
        each encoder as .csv (counts) and .png, and where there are logits scores.npz and, of one
        classifier, model.safetensors.

    Returns:
      The content of results.json.

    Raises:
      UserError: wrong settings, no such pre-training run, no records, joints that do not match; a
        workdir in use.
    """
    began = time.monotonic()
    settings.require_choice("config.protocol", config.protocol, PROTOCOLS)
    subject = Subject.of(config)
    mesh = sharding.make_mesh()
    sources = encoder_under_test.open_records(subject.config, subject.seen)
    # Each process looked up the newest checkpoint itself; all must have found the same.
    facts = [source.summary() for source in sources] + [f"encoder of step {subject.step}"]
    with Run.open(folder, subject.config, FREE_KEYS, "; ".join(facts)) as run:
        run.record()
        _remove_earlier(run)
        splits = [place(read(source, mesh), mesh) for source in sources]
        train, test = (split.host for split in splits)
        run.say(_banner(subject, mesh, train, test))
        outcomes, seconds = _outcomes(run, subject, *splits)
        results = {
            **_results(subject, train, test, outcomes, seconds),
            **workdir.provenance(),
            "seconds": round(time.monotonic() - began, 2),
        }
        model = None
        if classifier := next(iter(outcomes.values())).classifier:
            model = load.of_evaluation(
                classifier, subject.encoder, subject.config, subject.seen, test, results
            )
        if jax.process_index() == 0:
            write(run, test, outcomes)
            if model is not None:
                model_file.write(run.workdir / model_file.NAME, model)
        # Strict JSON has no NaN; no metric should be one.
        run.write(RESULTS_FILE, json.dumps(results, indent=2, allow_nan=False) + "\n")
        run.say("\n" + _table(subject.config, outcomes))
        run.say(f"\nall results, per-class accuracies and confusion matrices: {run.workdir}")
    return results


def _outcomes(
    run: Run, subject: Subject, train: DeviceSplit, test: DeviceSplit
) -> tuple[dict[str, Outcome], dict[str, float]]:
    """Runs the protocol on each encoder; returns outcomes and seconds by its name."""
    config, outcomes, seconds = subject.config, {}, {}
    for name, params in subject.params.items():
        start = time.monotonic()
        task = Task(
            encoder=subject.encoder,
            params=sharding.put(params, sharding.replicated(train.mesh)),
            train=train,
            test=test,
            num_classes=len(test.host.class_names),
            **encoder_under_test.views(config, subject.seen),
        )
        outcomes[name] = PROTOCOLS[config.protocol].run(task, config, _log(run, name))
        seconds[name] = round(time.monotonic() - start, 2)
    return outcomes, seconds


def _log(run: Run, encoder: str) -> Callable[[int, dict[str, float]], None]:
    """The function that a protocol calls after every epoch: metrics, and now and then a line."""
    shown = time.monotonic()

    def log(epoch: int, scalars: dict[str, float]) -> None:
        nonlocal shown
        run.log(epoch, {f"{encoder}/{name}": value for name, value in scalars.items()})
        if time.monotonic() - shown > _SHOW_EVERY_S:
            shown = time.monotonic()
            values = "  ".join(f"{name} {value:.4f}" for name, value in scalars.items())
            run.say(f"{encoder}  epoch {epoch}  {values}")

    return log


def _results(
    subject: Subject,
    train: Split,
    test: Split,
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
        "dataset": config.dataset,
        "encoders": encoders,
        "pretraining": origin if config.pretrained else None,
        "adaptation": dataclasses.asdict(subject.adaptation) if subject.adaptation else None,
        "train_sequences": len(train.label),
        "test_sequences": len(test.label),
        "num_classes": len(test.class_names),
        "classes_in_test": len(np.unique(test.label)),
    }


def write(run: Run, test: Split, outcomes: Mapping[str, Outcome]) -> None:
    """Writes confusion matrices, accuracies per class, and scores where there are logits."""
    names = test.class_names
    confusions = {
        encoder: report.confusion_matrix(test.label, outcome.predictions, len(names))
        for encoder, outcome in outcomes.items()
    }
    for encoder, confusion in confusions.items():
        top1 = 100 * np.trace(confusion) / confusion.sum()
        title = (
            f"{run.config.protocol} on {run.config.dataset}, {encoder} encoder: top-1 {top1:.2f} %"
        )
        run.write(f"confusion_{encoder}.csv", report.confusion_csv(names, confusion))
        run.write(f"confusion_{encoder}.png", report.confusion_png(names, confusion, title))
    run.write("per_class.csv", report.per_class_csv(names, confusions))
    logits = {name: o.scores for name, o in outcomes.items() if o.scores is not None}
    if logits:
        score_file.write(run.workdir, score_file.Scores(test.names, test.label, names, logits))


def _remove_earlier(run: Run) -> None:
    """Removes the results of an earlier start."""
    if (run.workdir / RESULTS_FILE).exists():
        run.say(f"{run.workdir} holds a finished evaluation with this config; evaluating again.")
    if jax.process_index() == 0:
        for name in (RESULTS_FILE, model_file.NAME):
            (run.workdir / name).unlink(missing_ok=True)


def _table(config: ml_collections.ConfigDict, outcomes: Mapping[str, Outcome]) -> str:
    """The table of the encoders, and each draw of a protocol of several."""
    titles = TITLES if "scratch" in config else {}
    rows = {titles.get(name, name): outcome for name, outcome in outcomes.items()}
    metrics = {name: outcome.metrics for name, outcome in rows.items()}
    draws = [f"{name}: {report.draws(o.draws)}" for name, o in rows.items() if o.draws]
    return "\n".join([report.table(metrics, PROTOCOLS[config.protocol].columns), *draws])


def _banner(subject: Subject, mesh: jax.sharding.Mesh, train: Split, test: Split) -> str:
    """What is evaluated, on which data and devices."""
    config, pretraining = subject.config, subject.pretraining
    counts = ", ".join(
        f"{name} {len(split.label):,} sequences with {len(split.length):,} bodies"
        for name, split in ((config.train_split, train), (config.test_split, test))
    )
    encoder = "untrained, from config.scratch"
    if config.pretrained:
        encoder = (
            f"{config.pretrained}, step {subject.step:,} "
            f"({pretraining.method} on {pretraining.dataset})"
        )
    lines = {
        "devices": describe_devices(mesh),
        "encoder": f"{encoder}, {pretraining.input.stream} stream, {config.dtype}",
        **(subject.adaptation.lines() if subject.adaptation else {}),
        "data": f"{config.dataset}: {counts}; {len(test.class_names)} classes",
        "protocol": config.protocol,
    }
    return console.aligned(lines)


def main(config: ml_collections.ConfigDict, flags: argparse.Namespace) -> None:
    """The command; `flags` are those of `amr_jax.__main__.evaluate`."""
    run(config, flags.workdir)
