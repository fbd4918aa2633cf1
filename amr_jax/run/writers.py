"""Where metrics and pictures of a run go: TensorBoard, Weights & Biases, MLflow.

A further one is a class with the methods of `Writer` and a line in `WRITERS`; its name joins the
choices of `config.writers` (`amr_jax/config/base.py`). A resumed run continues in the same run of a
service: its id is in `writers.json` of the workdir.
"""

import contextlib
import importlib
import io
import json
import logging
import os
import struct
import time
import uuid
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Protocol

from etils import epath

from amr_jax.errors import UserError
from amr_jax.run import console, paths
from amr_jax.run import workdir as workdirs

IDS_FILE = "writers.json"

_FLUSH_EVENTS_EVERY_S = 30.0
_PARAMS_AT_ONCE = 100  # MLflow's limit


class Writer(Protocol):
    """What receives the settings, scalars and pictures of a run.

    Made with (workdir, resume_step): the existing folder of the run, and the step that it resumes
    from; steps after that may come a second time. `wall_time` is in seconds since 1970.
    """

    def config(self, values: Mapping[str, object]) -> None:
        """The settings by dotted key; called once, first."""

    def scalars(self, step: int, values: Mapping[str, float], wall_time: float) -> None:
        """What was measured at a step, by name; a slash groups names."""

    def image(self, step: int, name: str, png: bytes, wall_time: float) -> None:
        """A picture, as the content of a .png file."""

    def close(self) -> None:
        """Called once, last; also when the run is stopped and will be resumed."""


class TensorBoard:
    """Event files in `tensorboard/`, without TensorFlow; settings in the plugin HParams.

    TensorBoard drops the points of earlier files beyond the step that a run resumes from; it reads
    the files in the order of their names, which begin with the step.
    """

    def __init__(self, workdir: os.PathLike | str, resume_step: int):
        # Imported late: it takes a second, and only runs that write need it.
        from tensorboardX import event_file_writer, summary
        from tensorboardX.proto import event_pb2, summary_pb2

        self._event, self._summary, self._hparams = event_pb2.Event, summary_pb2.Summary, summary
        self._folder = epath.Path(workdir) / "tensorboard"
        with as_user_error(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            # Not tensorboardX's SummaryWriter: its thread ends on a full disk, and the next call
            # blocks forever.
            self._events = event_file_writer.EventsWriter(
                str(self._folder / f"events.{resume_step:012d}")
            )
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._events.write_event(self._event(step=resume_step + 1, session_log=start))
        self._flushed = time.monotonic()

    def config(self, values: Mapping[str, object]) -> None:
        """See `Writer`."""
        plain = {
            key: value if isinstance(value, bool | int | float | str) else str(value)
            for key, value in values.items()
            if value is not None
        }
        # Without an experiment of its own, the plugin takes metrics and columns from all runs.
        _, started, self._ended = self._hparams.hparams(plain, {})
        self._write(summary=started, wall_time=time.time())

    def scalars(self, step: int, values: Mapping[str, float], wall_time: float) -> None:
        """See `Writer`."""
        points = [self._summary.Value(tag=k, simple_value=v) for k, v in values.items()]
        self._write(step=step, summary=self._summary(value=points), wall_time=wall_time)

    def image(self, step: int, name: str, png: bytes, wall_time: float) -> None:
        """See `Writer`."""
        width, height = struct.unpack(">II", png[16:24])
        image = self._summary.Image(
            width=width, height=height, colorspace=4, encoded_image_string=png
        )
        value = self._summary.Value(tag=name, image=image)
        self._write(step=step, summary=self._summary(value=[value]), wall_time=wall_time)

    def close(self) -> None:
        """See `Writer`."""
        if hasattr(self, "_ended"):
            self._write(summary=self._ended, wall_time=time.time())
        with as_user_error(self._folder):
            self._events.close()

    def _write(self, **event: object) -> None:
        with as_user_error(self._folder):
            self._events.write_event(self._event(**event))
            if time.monotonic() - self._flushed > _FLUSH_EVENTS_EVERY_S:
                self._events.flush()
                self._flushed = time.monotonic()


class WeightsAndBiases:
    """A run of Weights & Biases, in the project WANDB_PROJECT; its own variables hold as usual."""

    def __init__(self, workdir: os.PathLike | str, resume_step: int):
        del resume_step
        self._package = _package("wandb")
        run_id = _kept(workdir).get("wandb") or uuid.uuid4().hex[:8]
        _keep(workdir, "wandb", run_id)
        try:
            self._run = self._package.init(
                project=os.environ.get("WANDB_PROJECT", "amr_jax"),
                name=_name(workdir),
                id=run_id,
                resume="allow",
                dir=None if paths.is_remote(workdir) else os.fspath(workdir),
                settings=self._package.Settings(silent=True, console="off"),
            )
        except Exception as error:  # it has no common class of errors
            raise UserError(
                f"config.writers: Weights & Biases did not start ({error}); expected a login "
                "(`wandb login`, or WANDB_API_KEY), or WANDB_MODE=offline."
            ) from error
        # Not its own count of steps, which refuses steps that a resumed run repeats.
        self._run.define_metric("*", step_metric="step")
        where = f"offline, run {run_id}" if self._run.offline else self._run.url
        console.say(f"Weights & Biases: {where}")

    def config(self, values: Mapping[str, object]) -> None:
        """See `Writer`."""
        self._run.config.update(dict(values), allow_val_change=True)

    def scalars(self, step: int, values: Mapping[str, float], wall_time: float) -> None:
        """See `Writer`."""
        del wall_time
        self._run.log({**values, "step": step})

    def image(self, step: int, name: str, png: bytes, wall_time: float) -> None:
        """See `Writer`."""
        del wall_time
        self._run.log({name: self._package.Image(_picture(png)), "step": step})

    def close(self) -> None:
        """See `Writer`."""
        self._run.finish()


class MLflow:
    """A run of MLflow, in the store MLFLOW_TRACKING_URI, or else MLflow's own default.

    Its experiment is MLFLOW_EXPERIMENT_NAME, or else amr_jax.
    """

    def __init__(self, workdir: os.PathLike | str, resume_step: int):
        del resume_step
        self._package = _package("mlflow")
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self._id = _kept(workdir).get("mlflow")
        self._is_new = self._id is None
        try:
            self._client = self._package.MlflowClient()
            if self._is_new:
                self._id = self._client.create_run(self._experiment(), run_name=_name(workdir))
                self._id = self._id.info.run_id
            else:
                self._client.update_run(self._id, status="RUNNING")
        except Exception as error:  # of the store: files, a database, a server
            raise UserError(
                f"config.writers: MLflow did not start in {self._package.get_tracking_uri()} "
                f"({error}); expected a store that can be written, and that has the run "
                f"{self._id or 'to make'} ({epath.Path(workdir) / IDS_FILE}): set "
                "MLFLOW_TRACKING_URI as at the first start, or delete that file for a new run."
            ) from error
        _keep(workdir, "mlflow", self._id)
        console.say(f"MLflow: run {self._id} in {self._package.get_tracking_uri()}")

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "amr_jax")
        found = self._client.get_experiment_by_name(name)
        return found.experiment_id if found else self._client.create_experiment(name)

    def config(self, values: Mapping[str, object]) -> None:
        """See `Writer`. What a run began with stays: MLflow's parameters never change."""
        make = self._package.entities.Param
        params = [make(key, str(value)) for key, value in values.items()] if self._is_new else []
        for start in range(0, len(params), _PARAMS_AT_ONCE):
            self._client.log_batch(self._id, params=params[start : start + _PARAMS_AT_ONCE])

    def scalars(self, step: int, values: Mapping[str, float], wall_time: float) -> None:
        """See `Writer`."""
        make, milliseconds = self._package.entities.Metric, round(1000 * wall_time)
        metrics = [make(key, float(value), milliseconds, step) for key, value in values.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def image(self, step: int, name: str, png: bytes, wall_time: float) -> None:
        """See `Writer`."""
        del wall_time
        self._client.log_image(self._id, _picture(png), artifact_file=f"{name}/{step:08d}.png")

    def close(self) -> None:
        """See `Writer`."""
        self._client.set_terminated(self._id)


WRITERS = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases, "mlflow": MLflow}


@contextlib.contextmanager
def as_user_error(path: epath.Path) -> Iterator[None]:
    """Turns an error of the disk into a `UserError` that names the file."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path}: could not be written ({error}). Remove the cause; the same command then "
            "resumes from the last checkpoint."
        ) from error


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"config.writers: the package {name} could not be imported ({error}); "
            f"pip install 'amr_jax[{name}]'."
        ) from error


def _name(workdir: os.PathLike | str) -> str:
    """The name of a run: the last two parts of its workdir's path."""
    return "/".join(epath.Path(workdir).parts[-2:]).lstrip("/")


def _kept(workdir: os.PathLike | str) -> dict[str, str]:
    """The ids of the run at services that earlier starts used."""
    path = epath.Path(workdir) / IDS_FILE
    try:
        return json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise UserError(
            f"{path}: not readable as JSON ({error}). Delete it: services get a new run."
        ) from error


def _keep(workdir: os.PathLike | str, name: str, run_id: str) -> None:
    ids = {**_kept(workdir), name: run_id}
    workdirs.write(epath.Path(workdir) / IDS_FILE, json.dumps(ids, indent=2) + "\n")


def _picture(png: bytes):
    from PIL import Image  # comes with matplotlib

    return Image.open(io.BytesIO(png))
