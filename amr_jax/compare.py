r"""Comparison of methods: pre-trains and evaluates each in the same way, and makes tables.

  python -m amr_jax.compare --config=configs/compare.py:ntu60_xsub --config.data_dir=DATA \
      --workdir=DIR

configs/ablation.py makes other tables with the same command. Each row has a folder DIR/ROW: the
workdir of an ordinary pre-training run, which also holds the folders of its protocols and, written
last, `row.json`. The same command in the same workdir resumes with the rows that are missing. The
tables are written after every row.
"""

if __name__ == "__main__":  # before JAX is imported: --help answers at once
    from amr_jax.__main__ import script

    script("compare")


import argparse
import contextlib
import dataclasses
import json
import os
from collections.abc import Iterable, Iterator, Mapping

import ml_collections
from etils import epath

from amr_jax import evaluate, methods, pretrain
from amr_jax.config import settings
from amr_jax.config.comparison import COMPARISON
from amr_jax.errors import UserError
from amr_jax.evaluation import encoder_under_test
from amr_jax.run import metrics, paths, workdir
from amr_jax.run.run import Run
from amr_jax.studies import budget, costs, rows, tables

ROW_FILE = "row.json"

# Keys that may differ between two starts in one workdir. Each row is checked against its folder.
FREE_KEYS = {"data_dir", "configs", "only", "rows", "tables", "reference", "ours"}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What a comparison runs.

    Attributes:
      config: of configs/compare.py or configs/ablation.py.
      folder: the workdir.
      names: of all rows, in the order of the tables.
      chosen: of the rows to run (`config.only`).
      trainings: pre-training config of each row that is chosen or finished.
      protocols: config of each protocol, without the run to evaluate.
    """

    config: ml_collections.ConfigDict
    folder: epath.Path
    names: list[str]
    chosen: list[str]
    trainings: dict[str, ml_collections.ConfigDict]
    protocols: dict[str, ml_collections.ConfigDict]

    @classmethod
    def of(cls, config: ml_collections.ConfigDict, folder: epath.Path) -> "Comparison":
        """Resolves every row, so that a wrong setting is an error before the first row trains."""
        names = rows.in_order(config)
        chosen = rows.chosen(config, names)
        protocols = {name: rows.protocol(config, name) for name in config.protocols}
        done = [name for name in names if is_finished(folder / name, protocols)]
        trainings = {}
        for name in dict.fromkeys((*done, *chosen)):
            with _named(name):
                training = trainings[name] = rows.pretraining(config, name)
                methods.build(pretrain.resolve(training))
                epochs = budget.stored(folder / name) if config.budget == "seconds" else None
                if epochs is not None:
                    rows.set_epochs(training, epochs)
        return cls(config, folder, names, chosen, trainings, protocols)

    def read_finished(self) -> dict[str, dict]:
        """The row.json of every finished row, by its name."""
        finished = {}
        for name in self.names:
            if is_finished(self.folder / name, self.protocols):
                with _named(name):
                    finished[name] = read_row(
                        self.folder / name, self.trainings[name], self.protocols
                    )
        return finished

    def run_row(self, name: str) -> dict:
        """Trains or resumes one row, evaluates it, writes and returns its row.json."""
        config, training, folder = self.config, self.trainings[name], self.folder / name
        if config.budget == "seconds" and budget.stored(folder) is None:
            rows.set_epochs(training, budget.measure(training, config.seconds, folder))
        pretrain.run(training, folder)
        results = {key: judged(folder, protocol) for key, protocol in self.protocols.items()}
        first = next(iter(results.values()))  # all protocols use the same sequences
        bodies = pretrain.open_records(training).num_slots
        row = {
            "row": name,
            "title": config.rows[name].title,
            "config": config.rows[name].config,
            "overrides": [*config.overrides, *config.rows[name].overrides],
            **trained(folder),
            "bodies": bodies,
            "costs": dataclasses.asdict(costs.of_config(pretrain.resolve(training), bodies)),
            "protocols": {key: result["encoders"] for key, result in results.items()},
            "train_sequences": first["train_sequences"],
            "test_sequences": first["test_sequences"],
            **workdir.provenance(),
        }
        workdir.write(folder / ROW_FILE, json.dumps(row, indent=2, allow_nan=False) + "\n")
        return row


def run(
    config: ml_collections.ConfigDict, folder: os.PathLike | str, command: str = "not recorded"
) -> dict[str, dict]:
    """Runs the rows that are missing, and writes and prints the tables.

    Args:
      config: of configs/compare.py or configs/ablation.py.
      folder: the workdir.
      command: the command line, for the tables' notes.

    Returns:
      The content of each finished row's row.json, by row, in the order of the tables.

    Raises:
      UserError: before any row trains: wrong settings, by row and key; a row that belongs to
        another config. At the end, after the other rows: what pre-training and evaluation raise,
        with the row's name before it.
    """
    config = settings.completed(config, COMPARISON)
    comparison = Comparison.of(config, paths.absolute(folder))
    with Run.open(comparison.folder, config, FREE_KEYS) as run:
        run.record()
        finished = comparison.read_finished()
        failed = []
        for name in [name for name in comparison.chosen if name not in finished]:
            run.say(f"\n=== {name}: {config.rows[name].title}")
            _skip_random_encoder(comparison.protocols, finished)
            try:
                with _named(name):
                    finished[name] = comparison.run_row(name)
            except UserError as error:
                # Continue: later rows may take days, and do not depend on this one.
                failed.append(str(error))
                run.say(f"error: {error}")
                continue
            finished = {name: finished[name] for name in comparison.names if name in finished}
            tables.write(run.workdir, config, finished, command)
        if finished:
            run.say("\n" + tables.write(run.workdir, config, finished, command))
            run.say(f"all tables, as .md, .csv and .png: {run.workdir}")
    if failed:
        raise UserError("\n".join(failed))
    return finished


def _skip_random_encoder(
    protocols: Mapping[str, ml_collections.ConfigDict], finished: Mapping[str, dict]
) -> None:
    """Skips the random encoder in protocols in which a finished row has evaluated it already."""
    for key, protocol in protocols.items():
        if any("random" in row["protocols"][key] for row in finished.values()):
            protocol.random_encoder = False


def is_finished(folder: epath.Path, protocols: Iterable[str]) -> bool:
    """Whether a row's folder holds its row.json, and all results that this was made of."""
    results = (folder / name / evaluate.RESULTS_FILE for name in protocols)
    return all(path.exists() for path in (folder / ROW_FILE, *results))


def trained(folder: epath.Path) -> dict:
    """What row.json holds of a finished pre-training run.

    `training_seconds` is the time of all steps at the rate of the timed ones
    (`console.Progress`); None if none were timed, in a run of one or two dispatches.
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
    """The results.json of a protocol on the run in `folder`; the protocol runs if it is absent."""
    config = ml_collections.ConfigDict(protocol.copy_and_resolve_references())
    config.pretrained = os.fspath(folder)
    path = folder / config.protocol / evaluate.RESULTS_FILE
    if not path.exists():
        return evaluate.run(config, path.parent)
    config = encoder_under_test.resolve(config, workdir.read_config(folder))
    # `pretrained` may differ: it is the parent folder, and the comparison may have been moved.
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
    # The records are known only after loading them. 'auto' may resolve to another dtype here than
    # on the machine where the row was trained.
    free = pretrain.FREE_KEYS | {"input.found"}
    free |= {"dtype"} if training.dtype == "auto" else set()
    workdir.refuse_another(folder, pretrain.resolve(training), free)
    for protocol in protocols.values():
        judged(folder, protocol)  # its results exist: this compares their config with ours
    try:
        return json.loads((folder / ROW_FILE).read_text())
    except ValueError as error:
        raise UserError(
            f"{folder / ROW_FILE}: not readable as JSON ({error}). Delete it: the "
            "command writes it again."
        ) from error


@contextlib.contextmanager
def _named(row: str) -> Iterator[None]:
    """Puts the row's name before a `UserError`."""
    try:
        yield
    except UserError as error:
        raise UserError(f"row {row!r}: {error}") from error


def main(config: ml_collections.ConfigDict, flags: argparse.Namespace) -> None:
    """The command; `flags` are those of `amr_jax.__main__.compare`."""
    run(config, flags.workdir, flags.command)
