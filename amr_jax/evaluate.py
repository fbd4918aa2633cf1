r"""Evaluation: the accuracy of a pre-trained encoder, compared with a random one.

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
import json
import os
import time
from collections.abc import Callable

import jax
import ml_collections
from etils import epath

from amr_jax.config import evaluation as protocols
from amr_jax.config import settings
from amr_jax.data import datasets
from amr_jax.data.split import DeviceSplit, place, read
from amr_jax.errors import UserError
from amr_jax.evaluation import encoder_under_test, results, score_file
from amr_jax.evaluation.encoder_under_test import Subject
from amr_jax.evaluation.protocols import PROTOCOLS
from amr_jax.evaluation.results import RESULTS_FILE
from amr_jax.evaluation.task import Outcome, Task
from amr_jax.evaluation.twins import Twins
from amr_jax.inference import load, model_file
from amr_jax.models.settings import matmul_precision
from amr_jax.report import evaluation, page
from amr_jax.run import console, distributed, paths, sharding, workdir
from amr_jax.run.run import Run, describe_devices

# Keys that may differ between two starts in one workdir: they change no number.
FREE_KEYS = {"data_dir", "encode_batch_size", "random_encoder", "raw_coordinates", "writers"}


def run(
    config: ml_collections.ConfigDict, folder: os.PathLike | str, command: str | None = None
) -> dict:
    """Evaluates, writes the files, prints the table.

    Args:
      config: of configs/linear.py, configs/knn.py, …
      folder: for config.json, results.json, metrics.jsonl, per_class.csv, a confusion matrix of
        each encoder as .csv (counts) and .png, and where there are logits scores.npz and, of one
        classifier, model.safetensors; last of all report.html.
      command: the command line, for the report.

    Returns:
      The content of results.json.

    Raises:
      UserError: wrong settings, no such pre-training run, no records, joints that do not match; a
        workdir in use.
    """
    began = time.monotonic()
    settings.require_choice("config.protocol", config.protocol, PROTOCOLS)
    begun = as_begun(config, paths.absolute(folder))
    if begun is not config:
        console.say(
            f"note: {folder} keeps the settings of its version, older than sizes of own data."
        )
    subject = Subject.of(begun)
    mesh = sharding.make_mesh()
    sources = subject.open_records()
    # Each process looked up the newest checkpoint itself; all must have found the same.
    _refuse_other_results(paths.absolute(folder))
    facts = [source.summary() for source in sources] + [f"encoder of step {subject.step}"]
    data = "; ".join(facts)
    with Run.open(folder, subject.config, FREE_KEYS, data, holds_work=has_results) as run:
        run.record()
        _remove_earlier(run)
        distributed.together(run.start_writers)
        splits = [place(read(source, mesh), mesh) for source in sources]
        train, test = (split.host for split in splits)
        twins = Twins.of(datasets.get(subject.config.dataset), train, test)
        lines = {"devices": describe_devices(mesh), **subject.describe(train, test)}
        lines |= {"twins": twins.describe()} if twins else {}
        run.say(console.aligned(lines))
        doubts = [*results.doubts(train, test), *subject.doubts()]
        for doubt in doubts:
            run.say(f"note: {doubt}")
        outcomes, seconds = _outcomes(run, subject, *splits, twins)
        found = {
            **results.of(subject, train, test, twins, outcomes, seconds),
            **workdir.provenance(),
            "seconds": round(time.monotonic() - began, 2),
        }
        model = None
        if classifier := next(iter(outcomes.values())).classifier:
            model = load.of_evaluation(
                classifier, subject.encoder, subject.config, subject.seen, test, found
            )
        if jax.process_index() == 0:
            results.write_files(run.workdir, subject.config, test, outcomes)
            for name in outcomes:
                picture = (run.workdir / f"confusion_{name}.png").read_bytes()
                run.image(subject.config.get("epochs", 1), f"confusion/{name}", picture)
            if model is not None:
                model_file.write(run.workdir / model_file.NAME, model)
        # Strict JSON has no NaN; no metric should be one.
        run.write(RESULTS_FILE, json.dumps(found, indent=2, allow_nan=False) + "\n")
        run.say("\n" + results.table(subject.config, outcomes))
        run.say(f"\nall results, per-class accuracies and confusion matrices: {run.workdir}")
    page.write(
        run.workdir,
        lambda: evaluation.content(
            run.workdir, command, lines, doubts, found, sources, (train, test), outcomes
        ),
    )
    return found


def as_begun(config: ml_collections.ConfigDict, folder: epath.Path) -> ml_collections.ConfigDict:
    """The config with which to evaluate again: `protocols.as_begun`, if `folder` has results."""
    if not (has_results(folder) and (folder / workdir.CONFIG_FILE).exists()):
        return config
    return protocols.as_begun(config, workdir.read_config(folder))


def has_results(folder: epath.Path) -> bool:
    """Whether a workdir holds a finished evaluation."""
    return (folder / RESULTS_FILE).exists()


def _refuse_other_results(folder: epath.Path) -> None:
    """Refuses results that no evaluation wrote, such as those of an ensemble."""
    if has_results(folder) and not (folder / workdir.CONFIG_FILE).exists():
        raise UserError(
            f"{folder}: holds the results of another command, without {workdir.CONFIG_FILE}; "
            "expected a folder of its own for an evaluation. Nothing was changed."
        )


def _outcomes(
    run: Run, subject: Subject, train: DeviceSplit, test: DeviceSplit, twins: Twins | None
) -> tuple[dict[str, Outcome], dict[str, float]]:
    """Runs the protocol on each encoder; returns outcomes and seconds by its name."""
    config, outcomes, seconds = subject.config, {}, {}
    for name, encoder, params, readout in subject.judged():
        start = time.monotonic()
        task = Task(
            encoder=encoder,
            params=sharding.put(params, sharding.replicated(train.mesh)),
            pretrained=name == "pretrained",
            train=train,
            test=test,
            num_classes=len(test.host.class_names),
            twins=twins,
            readout=readout,
            **encoder_under_test.views(config, subject.seen),
        )
        precision = matmul_precision(subject.encoder.dtype, config.matmul_precision)
        with precision, console.progress_bar(f"{config.protocol}, {name} encoder"):
            outcomes[name] = PROTOCOLS[config.protocol].run(task, config, _log(run, name))
        seconds[name] = round(time.monotonic() - start, 2)
    return outcomes, seconds


def _log(run: Run, encoder: str) -> Callable[[int, dict[str, float]], None]:
    """The function that a protocol calls after every epoch."""
    return lambda epoch, scalars: run.log(
        epoch, {f"{encoder}/{name}": value for name, value in scalars.items()}
    )


def _remove_earlier(run: Run) -> None:
    """Removes the results of an earlier start."""
    if (run.workdir / RESULTS_FILE).exists():
        run.say(f"{run.workdir} holds a finished evaluation with this config; evaluating again.")
    if jax.process_index() == 0:
        for name in (RESULTS_FILE, model_file.NAME, score_file.FILE, page.FILE):
            (run.workdir / name).unlink(missing_ok=True)


def main(config: ml_collections.ConfigDict, flags: argparse.Namespace) -> None:
    """The command; `flags` are those of `amr_jax.flags.evaluate`."""
    run(config, flags.workdir, flags.command)
