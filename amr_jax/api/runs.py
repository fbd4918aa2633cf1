"""Pre-training runs and their evaluations as objects."""

import functools
import os
import tempfile
from collections.abc import Mapping
from typing import Any

import ml_collections
import numpy as np
from etils import epath

import amr_jax.pretrain
from amr_jax import evaluate
from amr_jax.api.data import Data
from amr_jax.api.models import TrainedModel
from amr_jax.api.models import load as load_trained
from amr_jax.config import arguments, files
from amr_jax.errors import UserError
from amr_jax.inference import adopt, load
from amr_jax.run import cli, metrics, paths, workdir


class Run:
    """A pre-training run in its workdir.

    Args:
      folder: the workdir, of `pretrain` or of the command.
      data: what `linear_probe` and the others use unless told; None: the run's own data set.

    Attributes:
      workdir: its absolute path.
      config: the resolved settings.
    """

    def __init__(self, folder: os.PathLike | str, data: Data | None = None, _keep=None):
        self.workdir, self._keep = paths.absolute(folder), _keep
        self.config = workdir.read_config(self.workdir)
        self._data, self._models = data, {}

    @classmethod
    def of(
        cls,
        model: TrainedModel | os.PathLike | str,
        data: Data | None = None,
        workdir: os.PathLike | str | None = None,
        dataset: str | None = None,
    ) -> "Run":
        """The encoder of a trained model as a run, to be evaluated or fine-tuned on other data.

        Args:
          model: a model, or what `load` takes.
          data: see the class; data with other joints takes `adapt=True` in evaluations.
          workdir: a new folder; None: a temporary one that goes with the object.
          dataset: see `adopt.to_workdir`; None: `data`, if its joints are those of the model.
        """
        model = model if isinstance(model, TrainedModel) else load_trained(model)
        folder, keep = _folder(workdir)
        if dataset is None and data is not None and data.has_joints_of(model.model.input):
            dataset = data.name
        adopt.to_workdir(model.model, folder, dataset)
        return cls(folder, data, keep)

    @property
    def data(self) -> Data:
        """The data set that the run was trained on."""
        if self._data is None:
            self._data = Data(self.config.dataset, self.config.data_dir)
        return self._data

    @property
    def metrics(self) -> dict[str, np.ndarray]:
        """Step, loss and every other measurement of `metrics.jsonl`, each (steps,)."""
        lines = metrics.read_metrics(self.workdir)
        names = {name: None for line in lines for name in line}
        return {name: np.array([line.get(name, np.nan) for line in lines]) for name in names}

    def model(self, dataset: str | None = None) -> TrainedModel:
        """The encoder; `dataset` names the joints of a run on several sets: `load.load_model`."""
        if dataset not in self._models:
            loaded = load.load_model(self.workdir, dataset=dataset)
            self._models[dataset] = TrainedModel(loaded, str(self.workdir))
        return self._models[dataset]

    def embed(self, x: Any, readout: str = "mean", dataset: str | None = None) -> np.ndarray:
        """Features (n, F) of arrays, see `TrainedModel.embed`."""
        return self.model(dataset).embed(x, readout)

    def evaluate(
        self,
        protocol: str,
        data: Data | None = None,
        *,
        workdir: os.PathLike | str | None = None,
        **settings: Any,
    ) -> "Evaluation":
        """Evaluates the encoder, as `amr-jax evaluate`.

        Args:
          protocol: 'linear', 'knn', 'finetune', … or a config file of yours.
          data: with train and test split; None: the run's own.
          workdir: None: a new folder in that of the run.
          settings: keys of the config, such as `epochs=20` or `**{"optim.lr": 1e-3}`.

        Raises:
          UserError: wrong settings; data without labels or without a test split.
        """
        data = data or self.data
        config = _config("protocol", protocol, data, settings)
        config.pretrained, config.data_dir = str(self.workdir), data.data_dir
        folder = workdir or self._unused(epath.Path(protocol).stem)
        return Evaluation(folder, evaluate.run(config.lock(), folder), data, self._keep)

    def linear_probe(self, data: Data | None = None, **settings: Any) -> "Evaluation":
        """Trains a linear classifier on the frozen encoder; arguments as in `evaluate`.

        No random encoder beside it, unless `random_encoder=True`.
        """
        return self.evaluate("linear", data, **{"random_encoder": False, **settings})

    def finetune(self, data: Data | None = None, **settings: Any) -> "Evaluation":
        """Trains encoder and classifier together; arguments as in `linear_probe`."""
        return self.evaluate("finetune", data, **{"random_encoder": False, **settings})

    def knn(self, data: Data | None = None, **settings: Any) -> "Evaluation":
        """Classifies by the nearest neighbours in feature space; as `linear_probe`."""
        return self.evaluate("knn", data, **{"random_encoder": False, **settings})

    def push_to_hub(self, repo: str, private: bool = False, dataset: str | None = None) -> str:
        """Uploads the encoder, see `TrainedModel.push_to_hub`."""
        return self.model(dataset).push_to_hub(repo, private)

    def _unused(self, name: str) -> epath.Path:
        """A folder for an evaluation that no other one has."""
        number, folder = 1, self.workdir / name
        while folder.exists():
            folder = self.workdir / f"{name}_{(number := number + 1)}"
        return folder

    def __repr__(self) -> str:
        done = self.metrics
        last = f"step {int(done['step'][-1]):,}, loss {done['loss'][-1]:.4f}; " if done else ""
        return f"Run({self.config.method!r} on {self.config.dataset!r}: {last}{self.workdir})"


class Evaluation:
    """A finished evaluation, and the classifier that it trained, if any.

    Attributes:
      workdir: the folder with tables and confusion matrices.
      results: the content of results.json.
    """

    def __init__(self, folder: os.PathLike | str, results: Mapping, data: Data, _keep=None):
        self.workdir, self.results = paths.absolute(folder), results
        self._data, self._keep = data, _keep

    @property
    def accuracy(self) -> float:
        """Top-1 of the run's encoder on the test split, from 0 to 1."""
        return self.results["encoders"]["pretrained"]["top1"]

    @functools.cached_property
    def model(self) -> TrainedModel:
        """The classifier; `UserError` for a protocol that trains none."""
        return TrainedModel(load.load_model(self.workdir), str(self.workdir), self._data.classes)

    def predict(self, x: Any) -> np.ndarray:
        """See `TrainedModel.predict`."""
        return self.model.predict(x)

    def predict_proba(self, x: Any) -> np.ndarray:
        """See `TrainedModel.predict_proba`."""
        return self.model.predict_proba(x)

    def save(self, path: os.PathLike | str) -> None:
        """See `TrainedModel.save`."""
        self.model.save(path)

    def __repr__(self) -> str:
        found, encoders = self.results, self.results["encoders"]
        scores = ", ".join(f"{name} {100 * one['top1']:.2f} %" for name, one in encoders.items())
        return (
            f"Evaluation({found['protocol']!r}: top-1 {scores} of {found['test_sequences']:,} test "
            f"sequences; {self.workdir})"
        )


def pretrain(
    method: str | ml_collections.ConfigDict,
    data: Data,
    *,
    workdir: os.PathLike | str | None = None,
    runlocal: bool = False,
    **settings: Any,
) -> Run:
    """Pre-trains an encoder without labels, as `amr-jax pretrain`.

        run = amr_jax.pretrain("amr", data, epochs=50, **{"optim.lr": 1e-3})

    Args:
      method: a config by name ('amr', 'mamp', 'amr_small', …), the path of one, or a config for
        this data set, which is not changed.
      data: of `load_data`.
      workdir: the run's folder; the same call with the same folder resumes the run. None: a
        temporary folder that goes with the object.
      runlocal: a tiny model and few sequences, seconds on two cores.
      settings: keys of the config, dotted; docs/configs.md lists them.

    Raises:
      UserError: wrong settings, or data that does not fit them.
      Preempted: stopped by Ctrl-C; saved.
    """
    config = _config("method", method, data, settings, runlocal=runlocal)
    config.data_dir = data.data_dir
    folder, keep = _folder(workdir)
    amr_jax.pretrain.run(config.lock(), folder)
    return Run(folder, data, keep)


def _folder(workdir: os.PathLike | str | None) -> tuple[os.PathLike | str, Any]:
    """The folder of a run, and what keeps a temporary one alive."""
    if workdir:
        return workdir, None
    keep = tempfile.TemporaryDirectory(prefix="amr_jax_run_")
    return f"{keep.name}/run", keep


def _config(
    kind: str,
    what: str | ml_collections.ConfigDict,
    data: Data,
    settings: Mapping[str, Any],
    **options: bool,
) -> ml_collections.ConfigDict:
    """The config of a 'method' or 'protocol' for this data, with other settings."""
    _quieten_libraries()
    if not isinstance(data, Data):
        raise UserError(f"data: found {type(data).__name__}; expected what load_data returns.")
    if isinstance(what, str):
        config = files.get_config(f"{what}:{arguments.spell(data.name, **options)}")
    else:
        config = ml_collections.ConfigDict(what.copy_and_resolve_references()).unlock()
    if kind not in config:
        raise UserError(f"{what}: no {kind}; expected one of {', '.join(files.names_of(kind))}.")
    files.override(config, [f"{key}={value}" for key, value in settings.items()])
    return config


@functools.cache  # it adds a filter
def _quieten_libraries() -> None:
    cli.quieten_libraries(-1)
