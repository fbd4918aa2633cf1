"""A row that trains: pre-training with one seed, and its evaluations."""

import dataclasses
import json
import os
import zlib

import ml_collections
from etils import epath

from amr_jax import evaluate, methods, pretrain
from amr_jax.config import checks, settings
from amr_jax.data import datasets
from amr_jax.errors import UserError
from amr_jax.evaluation import adapt, encoder_under_test
from amr_jax.run import checkpoint, metrics, paths, workdir
from amr_jax.studies import budget, cells, costs, rows
from amr_jax.train import start

# Settings of pre-training that do not reach a random encoder, its data or its views.
_ONLY_OF_TRAINING = (
    "input.split",
    "input.mode",
    "input.storage",
    "input.bodies",
    "input.second_body",
    "input.absent_frames",
    "input.mixture",
    "input.found",
)
# Sections and settings of it that do.
_OF_EVALUATION = ("dtype", "matmul_precision", "input", "encoder", "augment")


@dataclasses.dataclass(frozen=True)
class Training:
    """A row that trains.

    Attributes:
      row, seed, folder: of the cell. The folder is the workdir of an ordinary pre-training run,
        with the folders of the protocols in it.
      about: what row.json says of the row: title, config, overrides.
      training: the pre-training config.
      protocols: config of each protocol on each data set, without the run to evaluate, by the
        folder of its results in that of the cell (`rows.key`).
      seconds: training time, where that is what all rows have in common.
      measured: folder of the measurement of how many epochs that is: one for all seeds.
      counted: whether a table shows its costs, so that they are counted.
    """

    row: str
    seed: int
    folder: epath.Path
    about: dict
    training: ml_collections.ConfigDict
    protocols: dict[str, ml_collections.ConfigDict]
    seconds: float | None
    measured: epath.Path
    counted: bool

    @staticmethod
    def protocols_of(config: ml_collections.ConfigDict, row: str) -> dict[str, tuple]:
        """Where such a row has results (`rows.key`) -> (protocol, data set; None: the common)."""
        return {
            rows.key(name, on): (name, on)
            for on in rows.judged_on(config, row) or (None,)
            for name in config.protocols
        }

    @classmethod
    def of(
        cls, config: ml_collections.ConfigDict, root: epath.Path, row: str, seed: int
    ) -> "Training":
        """Resolves the cell's configs, so that a wrong setting is an error before any row trains.

        Args:
          config: of the comparison.
          root: the workdir of the comparison.
          row, seed: of the cell.
        """
        where = cells.folder_of(root, config, row, seed)
        training = pretrain.as_begun(rows.pretraining(config, row), where)
        if first := config.rows[row].get("start_from"):
            before = cls.of(config, root, first, seed)
            training = start.with_encoder_of(training, pretrain.resolve(before.training))
            training.start_from = os.fspath(paths.absolute(before.folder))
        # Results of one protocol are compared: rows that follow are judged as finished ones are.
        alike = [where, *(root / name for name in rows.judged_alike(config, row))]
        protocols = {}
        for key, (name, on) in cls.protocols_of(config, row).items():
            made = rows.protocol(config, name, row, on)
            finished = (folder / key for folder in alike if evaluate.has_results(folder / key))
            protocols[key] = evaluate.as_begun(made, next(finished, where / key))
        for protocol in protocols.values():
            if not adapt.has_joints_of(training, datasets.get(protocol.dataset)):
                protocol.adapt = True
        for made in (training, *protocols.values()):
            made.seed = seed
        resolved = pretrain.resolve(training)
        checks.require_method_fits(resolved, methods.build(resolved))
        for protocol in protocols.values():
            encoder_under_test.resolve(protocol, resolved)
        seconds = config.seconds * rows.stage(config, row) if config.budget == "seconds" else None
        if seconds and (epochs := budget.stored(root / row)) is not None:
            rows.set_epochs(training, epochs)
        spec = config.rows[row]
        about = {
            "title": spec.title,
            "config": spec.config,
            "overrides": rows.overrides(config, row),
        }
        counted = not rows.judged_on(config, row)
        return cls(row, seed, where, about, training, protocols, seconds, root / row, counted)

    def read(self, finished: cells.Finished) -> dict | None:
        """See cells.py.

        Raises:
          UserError: the row, or a protocol in it, was run with another config; or no readable file.
        """
        del finished
        if not cells.is_finished(self.folder, self.protocols):
            return None
        # The records are known only after loading them. 'auto' may resolve to another dtype here
        # than on the machine where the row was trained.
        free = pretrain.FREE_KEYS | {"input.found", "start_from"}  # the comparison may have moved
        free |= {"dtype"} if self.training.dtype == "auto" else set()
        workdir.refuse_another(self.folder, pretrain.resolve(self.training), free)
        for key, protocol in self.protocols.items():
            judged(self.folder, key, protocol)  # results exist: this compares the configs
        found = cells.read(self.folder)
        if "last_metrics" not in found:  # written by version 0.2.0 or earlier
            found["last_metrics"] = metrics.read_metrics(self.folder)[-1]
        # Settings that a later version adds are in the checksums of all rows, then.
        return {"seed": self.seed, **found, "untrained": self.untrained()}

    def run(self, finished: cells.Finished) -> dict:
        """See cells.py; `UserError` and `Preempted` as of pre-training and evaluation."""
        if self.seconds:
            rows.set_epochs(
                self.training,
                budget.stored(self.measured)
                or budget.measure(self.training, self.seconds, self.measured),
            )
        if source := self.training.get("start_from"):
            _require_trained(self.row, source)
        pretrain.run(self.training, self.folder)
        untrained, results = self.untrained(), {}
        for name, protocol in self.protocols.items():
            known = {
                encoder
                for (_, seed), other in finished.items()
                if seed == self.seed and other["untrained"].get(name) == untrained[name]
                for encoder in other["protocols"].get(name, {})
            }
            protocol.random_encoder = "random" not in known
            if "raw" in known:
                protocol.raw_coordinates = False
            results[name] = judged(self.folder, name, protocol)
        first = next(iter(results.values()))  # all protocols of a set use the same sequences
        bodies = pretrain.open_records(self.training).num_slots
        made = {
            "row": self.row,
            "seed": self.seed,
            **self.about,
            **trained(self.folder),
            "bodies": bodies,
            "costs": self._costs(finished, bodies) if self.counted else None,
            "protocols": {key: result["encoders"] for key, result in results.items()},
            "untrained": untrained,
            "train_sequences": first["train_sequences"],
            "test_sequences": first["test_sequences"],
            "test_sequences_with_twin": first.get("test_sequences_with_twin", 0),
            "sequences": {
                key: [found["train_sequences"], found["test_sequences"]]
                for key, found in results.items()
            },
            **workdir.provenance(),
        }
        cells.write(self.folder, made)
        return made

    def _costs(self, finished: cells.Finished, bodies: int) -> dict:
        """The costs of the row: those of another seed are the same, without compiling again."""
        known = (cell["costs"] for (row, _), cell in finished.items() if row == self.row)
        return next(known, None) or dataclasses.asdict(
            costs.of_config(pretrain.resolve(self.training), bodies)
        )

    def untrained(self) -> dict[str, str]:
        """Protocol -> a checksum of all that decides the result of a random encoder of one seed.

        Rows with equal checksums share its result, and that of raw coordinates: the first one
        evaluates it.
        """
        free = evaluate.FREE_KEYS | {"seed", "pretrained", "adapt"}
        found = {}
        for name, protocol in self.protocols.items():
            seen = {
                key: value
                for key, value in settings.flat(self._seen(protocol)).items()
                if key.split(".")[0] in _OF_EVALUATION and key not in _ONLY_OF_TRAINING
            }
            own = {key: x for key, x in settings.flat(protocol).items() if key not in free}
            found[name] = f"{zlib.crc32(json.dumps([seen, own], sort_keys=True).encode()):08x}"
        return found

    def _seen(self, protocol: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
        """The settings of pre-training that an evaluation sees: those of an adapted encoder."""
        given = {"pretrained": str(self.folder), "num_frames": protocol.num_frames}
        given["num_frames"] = given["num_frames"] or self.training.encoder.num_frames
        return adapt.settings(ml_collections.ConfigDict({**protocol, **given}), self.training)


def _require_trained(row: str, source: str) -> None:
    """Raises `UserError` unless the row that another one starts from is trained, in `source`."""
    if not checkpoint.has_one(source):
        raise UserError(
            f"row {row}: it starts from the encoder of {source}, which is not trained yet; let "
            "config.only name both rows."
        )


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
        "last_metrics": last,
    }


def judged(folder: epath.Path, key: str, protocol: ml_collections.ConfigDict) -> dict:
    """The results.json of a protocol on the run in `folder`; the protocol runs if it is absent.

    Args:
      key: where below `folder` (`rows.key`).
    """
    config = ml_collections.ConfigDict(protocol.copy_and_resolve_references())
    config.pretrained = os.fspath(folder)
    path = folder / key / evaluate.RESULTS_FILE
    if not path.exists():
        return evaluate.run(config, path.parent)
    config = encoder_under_test.resolve(config, workdir.read_config(folder))
    # `pretrained` may differ: it is the parent folder, and the comparison may have been moved.
    workdir.refuse_another(path.parent, config, evaluate.FREE_KEYS | {"pretrained"})
    return json.loads(path.read_text())
