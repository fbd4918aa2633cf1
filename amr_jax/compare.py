r"""Comparison of methods: each is pre-trained and evaluated alike, and all stand in one table.

  python -m amr_jax.compare --config=configs/compare.py:ntu60_xsub --config.data_dir=DATA \
      --workdir=DIR

configs/ablation.py makes other tables with the same command. Each row has a folder DIR/ROW: that
of an ordinary pre-training run, with the protocols' folders in it, and `row.json`, written last.
Started again in the same workdir, it goes on with what is missing. The tables are written after
every row.
"""

import contextlib
import dataclasses
import datetime
import functools
import json
import os
import shlex
import sys
from collections.abc import Iterable, Iterator

import ml_collections
from etils import epath

from amr_jax import evaluate, methods, pretrain
from amr_jax.errors import UserError
from amr_jax.evaluation import encoder_under_test
from amr_jax.run import console, lock, metrics, paths, workdir
from amr_jax.run.cli import run_with_config
from amr_jax.studies import budget, costs, rows, tables

ROW_FILE = "row.json"

# What may differ between two starts in one workdir. Rows are held against their own folders.
FREE_KEYS = {"data_dir", "configs", "only", "rows", "tables", "reference", "ours"}


def run(
    config: ml_collections.ConfigDict, folder: os.PathLike | str, command: str = "not recorded"
) -> dict[str, dict]:
    """Runs what is missing of the rows, and writes and prints the tables.

    Args:
      config: of configs/compare.py or configs/ablation.py.
      folder: the workdir.
      command: that this was started with, for the tables' notes.

    Returns:
      What the finished rows' row.json hold, by row, in the order of the tables.

    Raises:
      UserError: wrong settings, by row and key; a row that belongs to another config: before any
        trains. What pre-training and evaluation raise, with the row's name before it: at the end,
        when the other rows have run and stand in the tables.
    """
    folder = paths.absolute(folder)
    names = rows.in_order(config)
    chosen = rows.chosen(config, names)
    # All that is wrong with a setting is told before the first row trains.
    protocols = {name: rows.protocol(config, name) for name in config.protocols}
    done = [name for name in names if is_finished(folder / name, protocols)]
    runs = {}
    for name in dict.fromkeys((*done, *chosen)):
        with _named(name):
            runs[name] = rows.pretraining(config, name)
            methods.build(pretrain.resolve(runs[name]))
            epochs = budget.stored(folder / name) if config.budget == "seconds" else None
            if epochs is not None:
                rows.set_epochs(runs[name], epochs)
    with lock.hold(folder):
        workdir.start(folder, config, FREE_KEYS)
        return _run(config, folder, command, names, done, chosen, runs, protocols)


def _run(config, folder, command, names, done, chosen, runs, protocols) -> dict[str, dict]:
    """What `run` does once the settings are known to be right, and the workdir is its own."""
    finished = {}
    for name in done:
        with _named(name):
            finished[name] = read_row(folder / name, runs[name], protocols)
    failed = []
    for name in [name for name in chosen if name not in finished]:
        console.say(f"\n=== {name}: {config.rows[name].title}")
        for key, protocol in protocols.items():
            # It is the same for all rows.
            if any("random" in row["protocols"][key] for row in finished.values()):
                protocol.random_encoder = False
        try:
            with _named(name):
                finished[name] = run_row(config, name, runs[name], protocols, folder / name)
        except UserError as error:
            # The rows after it may take days, and do not depend on it.
            failed.append(str(error))
            console.say(f"error: {error}")
            continue
        finished = {name: finished[name] for name in names if name in finished}
        tables.write(folder, config, finished, command)
    if finished:
        console.say("\n" + tables.write(folder, config, finished, command))
        console.say(f"all tables, as .md, .csv and .png: {folder}")
    if failed:
        raise UserError("\n".join(failed))
    return finished


def run_row(
    config: ml_collections.ConfigDict,
    name: str,
    training: ml_collections.ConfigDict,
    protocols: dict[str, ml_collections.ConfigDict],
    folder: epath.Path,
) -> dict:
    """Trains, or goes on to, one row; evaluates it; writes and returns its row.json.

    Args:
      config: the comparison's.
      name: the row's.
      training: its pre-training config.
      protocols: name -> config, but for the run to judge.
      folder: the row's.
    """
    if config.budget == "seconds" and budget.stored(folder) is None:
        rows.set_epochs(training, budget.measure(training, config.seconds, folder))
    pretrain.run(training, folder)
    results = {key: judged(folder, protocols[key]) for key in protocols}
    bodies = budget.training_records(training).num_slots
    row = {
        "row": name,
        "title": config.rows[name].title,
        "config": config.rows[name].config,
        "overrides": [*config.overrides, *config.rows[name].overrides],
        **trained(folder),
        "bodies": bodies,
        "costs": dataclasses.asdict(costs.of_config(pretrain.resolve(training), bodies)),
        "protocols": {key: result["encoders"] for key, result in results.items()},
        # All protocols judge by the same sequences.
        **{key: next(iter(results.values()))[key] for key in ("train_sequences", "test_sequences")},
        "versions": workdir.versions(),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    workdir.write(folder / ROW_FILE, json.dumps(row, indent=2, allow_nan=False) + "\n")
    return row


def is_finished(folder: epath.Path, protocols: Iterable[str]) -> bool:
    """Whether a row's folder holds all that its row.json was made of, and that."""
    results = (folder / name / evaluate.RESULTS_FILE for name in protocols)
    return all(path.exists() for path in (folder / ROW_FILE, *results))


def trained(folder: epath.Path) -> dict:
    """What a finished pre-training run tells of itself.

    `training_seconds` is the time of all its steps at the rate of those that were timed
    (`metrics.TrainingClock`); None if none were, in a run of one or two dispatches.
    """
    config, last = workdir.read_config(folder), metrics.read_metrics(folder)[-1]
    timed = last["timed_steps"]
    return {
        "method": config.method,
        "encoder": {key: config.encoder[key] for key in ("num_frames", "width", "depth")},
        "dtype": config.dtype,
        "attention_kernel": config.attention_kernel,
        "records": config.input.found,
        "batch_size": config.batch_size,
        "epochs": config.epochs,
        "steps": last["step"],
        "training_seconds": last["timed_seconds"] / timed * last["step"] if timed else None,
    }


def judged(folder: epath.Path, protocol: ml_collections.ConfigDict) -> dict:
    """What results.json of a protocol on the run in `folder` holds; run if it is not there."""
    config = ml_collections.ConfigDict(protocol.copy_and_resolve_references())
    config.pretrained = os.fspath(folder)
    path = folder / config.protocol / evaluate.RESULTS_FILE
    if not path.exists():
        return evaluate.run(config, path.parent)
    config = encoder_under_test.resolve(config, workdir.read_config(folder))
    # Its own folder's parent by construction: the comparison may have been moved.
    workdir.refuse_another(path.parent, config, evaluate.FREE_KEYS | {"pretrained"})
    return json.loads(path.read_text())


def read_row(
    folder: epath.Path,
    training: ml_collections.ConfigDict,
    protocols: dict[str, ml_collections.ConfigDict],
) -> dict:
    """The row.json of a finished row.

    Raises:
      UserError: the row, or a protocol in it, was run with another config; or no readable file.
    """
    # Which records there were is known only after loading them. What 'auto' stood for where the row
    # was run may not be what it stands for where its table is made again.
    free = pretrain.FREE_KEYS | {"input.found"}
    free |= {"dtype"} if training.dtype == "auto" else set()
    workdir.refuse_another(folder, pretrain.resolve(training), free)
    for protocol in protocols.values():
        judged(folder, protocol)  # the results are there: this holds their config against ours
    try:
        return json.loads((folder / ROW_FILE).read_text())
    except ValueError as error:
        raise UserError(
            f"{folder / ROW_FILE}: not readable as JSON ({error}). Delete it: the row's "
            "results are gathered again."
        ) from error


@contextlib.contextmanager
def _named(row: str) -> Iterator[None]:
    """Puts the row's name before a `UserError`."""
    try:
        yield
    except UserError as error:
        raise UserError(f"row {row!r}: {error}") from error


if __name__ == "__main__":
    command = shlex.join(["python", "-m", "amr_jax.compare", *sys.argv[1:]])
    run_with_config(
        functools.partial(run, command=command),
        workdir="folder for the rows and tables; the same one goes on",
    )
