"""Loads trained models from model files, and from workdirs of evaluations and pre-training runs."""

import os
from collections.abc import Mapping
from typing import Any

import ml_collections
from etils import epath

from amr_jax.data import datasets
from amr_jax.data.split import Split
from amr_jax.errors import UserError
from amr_jax.evaluation import adapt
from amr_jax.evaluation.task import Classifier
from amr_jax.inference import hub, model_file, zoo
from amr_jax.inference.apply import Input, Model
from amr_jax.models import heads
from amr_jax.models.encoder import Encoder, build_encoder
from amr_jax.run import checkpoint, paths, workdir

# For an encoder without an evaluation: the defaults of evaluations.
_NUM_BODIES = 2
_TEST_FRACTION = 0.95


def load_model(
    path: os.PathLike | str, step: int | None = None, dataset: str | None = None
) -> Model:
    """Loads the model at `path`.

    Args:
      path: a model file; the workdir of an evaluation that wrote one; or the workdir of a
        pre-training run, for its encoder alone, with the default view of evaluations. Or the name
        of a shipped model (`zoo`), or hf://USER/REPO (`hub`).
      step: selects a checkpoint of a pre-training run; None: the newest.
      dataset: of a pre-training run on several sets: whose joints the sequences will have. It need
        not be one of them; their own text, 'a+b', stands for the joints of all.

    Raises:
      UserError: `path` is none of these, or has no checkpoint of this step; `dataset` is missing,
        has joints that the encoder does not know, or is given where it says nothing.
    """
    path = _place(path)
    file = path / model_file.NAME if path.is_dir() else path
    if path.is_dir() and (checkpoint.has_one(path) or not file.exists()):
        return of_pretraining(path, step, dataset)
    for flag, given, several in ("step", step, "steps"), ("dataset", dataset, "several data sets"):
        if given is not None:
            raise UserError(
                f"--{flag}={given}: only a pre-training run has {several}; {file} is one model."
            )
    return model_file.read(paths.on_disk(file))


def _place(path: os.PathLike | str) -> epath.Path:
    """The file or folder of a model; an existing one goes before a shipped model of its name."""
    if hub.is_address(path):
        return epath.Path(hub.fetch(os.fspath(path)))
    place = epath.Path(path).expanduser()
    shipped = None if place.exists() else zoo.find(os.fspath(path))
    return epath.Path(shipped) if shipped else place


def of_pretraining(
    path: os.PathLike | str, step: int | None = None, dataset: str | None = None
) -> Model:
    """Loads the encoder of a pre-training run; arguments and errors as in `load_model`."""
    config = workdir.read_config(path)
    if "protocol" in config:
        raise UserError(
            f"{path}: an evaluation by {config.protocol!r} without {model_file.NAME}: unfinished, "
            "or of a protocol that trains no classifier. Evaluate with configs/linear.py or "
            "configs/finetune.py, or give the pre-training run's workdir, for features."
        )
    params, config, step = checkpoint.load_encoder(path, step)
    trained_on = config.dataset
    dataset = _of_sequences(path, config, dataset)
    if dataset != trained_on:
        before, after = (datasets.get(name).layout for name in (trained_on, dataset))
        params = adapt.selected(params, before, after)
        config = adapt.for_one_set(config, dataset)
    return Model(
        encoder=build_encoder(config.encoder, config.dtype, attention_kernel="xla"),
        head=None,
        input=_input(config, datasets.get(dataset), _NUM_BODIES, _TEST_FRACTION),
        bodies="packed",
        class_names=(),
        variables={"params": {"encoder": params}, "batch_stats": {}},
        provenance={
            "pretraining": {"method": config.method, "dataset": trained_on, "step": step},
            "versions": workdir.versions(),
        },
    )


def _of_sequences(
    path: os.PathLike | str, config: ml_collections.ConfigDict, dataset: str | None
) -> str:
    """The data set whose joints the sequences for a run's encoder have; `UserError` if unclear."""
    trained = datasets.get(config.dataset)
    members = trained.members or {}
    if dataset is None and all(one.layout == trained.layout for one in members.values()):
        return config.dataset
    run, those = f"{path}: pre-trained on {config.dataset}", f"one of {', '.join(members)}"
    if dataset is None:
        raise UserError(
            f"{run}, whose joints differ; expected --dataset=NAME, {those}, or another set with "
            f"such joints; --dataset={config.dataset} stands for the joints of all "
            f"({trained.layout.name})."
        )
    if not members and dataset != config.dataset:
        raise UserError(f"--dataset={dataset}: {run} alone; expected no --dataset.")
    asked = datasets.get(dataset)
    if asked.channels != trained.channels or not adapt.has_joints_of(config, asked):
        raise UserError(
            f"--dataset={dataset}: {run}, which lacks joints of {asked.layout.name}; expected "
            f"{those}."
        )
    return dataset


def of_evaluation(
    classifier: Classifier,
    encoder: Encoder,
    config: ml_collections.ConfigDict,
    seen: ml_collections.ConfigDict,
    test: Split,
    provenance: Mapping[str, Any],
) -> Model:
    """The model that an evaluation trained.

    Args:
      classifier: of the protocol's outcome.
      encoder: the architecture.
      config: of the evaluation, resolved.
      seen: how clips were loaded and viewed, see `adapt.settings`.
      test: the split that the classifier was tested on.
      provenance: see `Model`.
    """
    dataset, num_bodies = datasets.get(config.dataset), test.present.shape[1]
    return Model(
        encoder=encoder,
        head=heads.build(classifier.head, classifier.head_settings),
        input=_input(seen, dataset, num_bodies, config.test_fraction),
        bodies=classifier.bodies,
        class_names=test.class_names,
        variables={"params": classifier.params, "batch_stats": classifier.batch_stats},
        provenance=provenance,
    )


def _input(
    seen: ml_collections.ConfigDict,
    dataset: datasets.Dataset,
    num_bodies: int,
    test_fraction: float,
) -> Input:
    layout = dataset.layout
    return Input(
        layout=layout.name,
        joints=layout.joints,
        parents=layout.parents,
        channels=dataset.channels,
        centre=layout.centre if seen.input.centre else None,
        max_frames=seen.input.max_frames,
        num_bodies=num_bodies,
        test_fraction=test_fraction,
        stream=seen.input.stream,
        body_frame=seen.input.body_frame,
        scale=dataset.scale,
        scores=dataset.scores,
    )
