r"""Evaluation: what a pre-trained encoder is worth, beside one that learned nothing.

  python -m amr_jax.evaluate --config=configs/linear.py:ntu60_xsub \
      --config.pretrained=DIR --workdir=DIR2

Architecture, layout, centring and augmentation are those of the pre-training run. The protocol
(amr_jax/protocols) runs twice: on the run's encoder, and on a randomly initialised one of the same
architecture (unless `config.random_encoder` is False: a comparison needs that only once). Started
again in the same workdir with the same config, it does its work again and replaces the results;
`results.json` is written last, and taken away first.
"""

import datetime
import functools
import json
import os
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from etils import epath

from amr_jax import augment, checkpoint, datasets, metrics, records, report, sharding, workdir
from amr_jax.command import run_with_config
from amr_jax.errors import UserError
from amr_jax.models.encoder import Encoder
from amr_jax.models.settings import compute_dtype, construct
from amr_jax.protocols import PROTOCOLS, Outcome, Task
from amr_jax.protocols.features import Split

RESULTS_FILE = "results.json"

# What may differ between two starts in one workdir: none of it changes a number.
FREE_KEYS = {"data_dir", "encode_batch_size", "random_encoder"}


def run(config: ml_collections.ConfigDict, folder: os.PathLike | str) -> dict:
    """Evaluates, writes the files, prints the table.

    Args:
      config: of configs/linear.py, configs/knn.py, …
      folder: for config.json, results.json, metrics.jsonl, per_class.csv, and a confusion matrix of
        each encoder as .csv (counts) and .png.

    Returns:
      What results.json holds.

    Raises:
      UserError: wrong settings, no such pre-training run, no records, joints that do not match.
    """
    began, folder = time.monotonic(), epath.Path(folder).expanduser().absolute()
    if config.protocol not in PROTOCOLS:
        raise UserError(
            f"config.protocol={config.protocol!r}: expected one of {', '.join(PROTOCOLS)}."
        )
    if not config.pretrained:
        raise UserError("give the pre-training run's workdir: --config.pretrained=DIR.")
    learned, pretraining, step = checkpoint.load_encoder(
        config.pretrained, config.step or None, config.average
    )
    config = resolve(config, pretraining)
    encoder = construct(
        Encoder, "config.encoder", pretraining.encoder, dtype=compute_dtype(config.dtype)
    )
    untrained = random_params(encoder, config.seed)
    checkpoint.check_same(learned, untrained, config.pretrained)

    mesh = sharding.make_mesh()
    train, test = load(config, pretraining)
    _start(folder, config)
    metrics.say(_banner(config, pretraining, step, mesh, train, test))
    task = functools.partial(
        Task,
        encoder=encoder,
        train=Split(train, mesh),
        test=Split(test, mesh),
        num_classes=len(test.class_names),
        **views(config, pretraining),
    )

    writer = metrics.MetricWriter(folder, resume_step=0)
    outcomes, seconds = {}, {}
    judged = {"pretrained": learned} | ({"random": untrained} if config.random_encoder else {})
    for name, params in judged.items():
        start = time.monotonic()
        params = sharding.put(params, sharding.replicated(mesh))
        outcomes[name] = PROTOCOLS[config.protocol](task(params=params), config, _log(writer, name))
        seconds[name] = round(time.monotonic() - start, 2)
    writer.close()

    results = {
        "protocol": config.protocol,
        "dataset": config.dataset,
        "encoders": {
            name: {**outcome.metrics, "seconds": seconds[name]}
            for name, outcome in outcomes.items()
        },
        "pretraining": {
            "workdir": str(config.pretrained),
            "step": step,
            "method": pretraining.method,
            "dataset": pretraining.dataset,
        },
        "train_sequences": len(train.label),
        "test_sequences": len(test.label),
        "num_classes": len(test.class_names),
        "classes_in_test": len(np.unique(test.label)),
        "versions": workdir.versions(),
        "seconds": round(time.monotonic() - began, 2),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    if jax.process_index() == 0:
        write(folder, config, test, outcomes, results)
    metrics.say("\n" + report.table({name: outcome.metrics for name, outcome in outcomes.items()}))
    metrics.say(f"\nall numbers, per class and confusion matrices: {folder}")
    return results


def resolve(
    config: ml_collections.ConfigDict, pretraining: ml_collections.ConfigDict
) -> ml_collections.ConfigDict:
    """A copy in which what is left to the pre-training run is filled in; checks the layouts.

    Raises:
      UserError: the data set has other joints or channels than the encoder was trained on, or is
        unknown.
    """
    config = ml_collections.ConfigDict(config.copy_and_resolve_references())
    config.pretrained = os.fspath(epath.Path(config.pretrained).expanduser().absolute())
    config.data_dir = config.data_dir or pretraining.data_dir
    config.dtype = pretraining.dtype if config.dtype == "auto" else config.dtype
    rows = [datasets.get(c.dataset) for c in (pretraining, config)]
    if rows[0].channels != rows[1].channels:
        raise UserError(
            f"config.dataset={config.dataset!r} has joints of {rows[1].channels}; the encoder in "
            f"{config.pretrained} was trained on {pretraining.dataset}, with {rows[0].channels}. "
            "Choose a data set of the same channels, or an encoder trained on this one."
        )
    seen, asked = (row.layout for row in rows)
    if seen != asked:
        raise UserError(
            f"config.dataset={config.dataset!r} has {asked.num_joints} joints ({asked.name}); the "
            f"encoder in {config.pretrained} was trained on {pretraining.dataset}, with "
            f"{seen.num_joints} ({seen.name}). Choose a data set of that layout, or an encoder "
            "trained on this one."
        )
    if not 0 < config.test_fraction <= 1:
        raise UserError(
            f"config.test_fraction={config.test_fraction}: expected above 0, at most 1."
        )
    return config


def load(
    config: ml_collections.ConfigDict, pretraining: ml_collections.ConfigDict
) -> tuple[records.Bodies, records.Bodies]:
    """The train and the test split, cut and centred as the encoder knows them."""
    dataset = datasets.get(config.dataset)
    centre = dataset.layout.centre if pretraining.input.centre else None
    train, test = (
        records.Records(
            config.data_dir, dataset.records, split, centre, pretraining.input.max_frames
        ).load()
        for split in (config.train_split, config.test_split)
    )
    return train, test


def views(
    config: ml_collections.ConfigDict, pretraining: ml_collections.ConfigDict
) -> dict[str, Callable]:
    """The two views of a body: as in pre-training, and the test's centre crop."""
    num_frames = pretraining.encoder.num_frames
    how = {"confidence": pretraining.encoder.confidence, **pretraining.augment}

    def train_view(key, clip, length):
        return augment.train_view(key, clip, length, num_frames=num_frames, **how)

    def test_view(key, clip, length):
        del key  # nothing is drawn
        return augment.test_view(clip, length, num_frames=num_frames, fraction=config.test_fraction)

    return {"train_view": train_view, "test_view": test_view}


def random_params(encoder: Encoder, seed: int) -> dict:
    """Parameters, on the host, of an encoder that learned nothing."""
    clips = jnp.zeros((1, encoder.num_frames, encoder.num_joints, encoder.channels), jnp.float32)
    return jax.device_get(jax.jit(encoder.init)(jax.random.key(seed), clips)["params"])


def write(
    folder: os.PathLike | str,
    config: ml_collections.ConfigDict,
    test: records.Bodies,
    outcomes: dict[str, Outcome],
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
    # Strict JSON has no NaN; no metric should be one.
    workdir.write(folder / RESULTS_FILE, json.dumps(results, indent=2, allow_nan=False) + "\n")


def _start(folder: os.PathLike | str, config: ml_collections.ConfigDict) -> None:
    """Makes the workdir; results of an earlier start, if any, are taken away."""
    workdir.start(folder, config, FREE_KEYS)
    earlier = epath.Path(folder) / RESULTS_FILE
    if earlier.exists():
        metrics.say(f"{folder} holds a finished evaluation with this config: it is done again.")
        if jax.process_index() == 0:
            earlier.unlink()


def _log(writer: metrics.MetricWriter, encoder: str) -> Callable[[int, dict[str, float]], None]:
    """What a protocol calls after every epoch: numbers to the file, now and then a line."""
    shown = time.monotonic()

    def log(epoch: int, scalars: dict[str, float]) -> None:
        nonlocal shown
        writer.write(epoch, {f"{encoder}/{name}": value for name, value in scalars.items()})
        if time.monotonic() - shown > 5:
            shown = time.monotonic()
            metrics.say(
                f"{encoder}  epoch {epoch}  {'  '.join(f'{k} {v:.4f}' for k, v in scalars.items())}"
            )

    return log


def _banner(config, pretraining, step, mesh, train, test) -> str:
    """What is evaluated, and where."""
    counts = ", ".join(
        f"{name} {len(split.label):,} sequences with {len(split.offset):,} bodies"
        for name, split in ((config.train_split, train), (config.test_split, test))
    )
    lines = {
        "devices": f"{mesh.size} × {jax.devices()[0].device_kind}, "
        f"{jax.process_count()} process(es)",
        "encoder": f"{config.pretrained}, step {step:,} ({pretraining.method} on "
        f"{pretraining.dataset}), {config.dtype}",
        "data": f"{config.dataset}: {counts}; {len(test.class_names)} classes",
        "protocol": config.protocol,
    }
    return metrics.aligned(lines)


if __name__ == "__main__":
    run_with_config(run, workdir="folder for the results")
