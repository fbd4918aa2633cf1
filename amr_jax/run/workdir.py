"""The folder of a run: its resolved config, its versions, and atomic writes of files."""

import contextlib
import datetime
import functools
import json
import os
import platform
from importlib import metadata

import jax
import ml_collections
from etils import epath

import amr_jax
from amr_jax.errors import UserError
from amr_jax.run import console, distributed, paths

CONFIG_FILE = "config.json"
VERSIONS_FILE = "versions.json"

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def write(path: os.PathLike | str, content: str | bytes) -> None:
    """Writes a file atomically: a temporary file beside it, renamed when complete."""
    path = epath.Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):  # a read-only disk holds nothing to remove
            temporary.unlink(missing_ok=True)
        raise UserError(f"{path}: could not be written ({error}).") from error


def versions() -> dict[str, str]:
    """Versions of this package, its libraries and Python, and the devices, for files of results."""
    found = {package: metadata.version(package) for package in _PACKAGES}
    device = jax.devices()[0]
    return {
        "amr_jax": amr_jax.__version__,
        **found,
        "python": platform.python_version(),
        "devices": f"{jax.device_count()} × {device.device_kind}",
    }


def provenance() -> dict:
    """For a file of results: the versions it was made with, and the time of its end (UTC)."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"versions": versions(), "finished": now}


def start(
    folder: os.PathLike | str,
    config: ml_collections.ConfigDict,
    free: set[str],
    holds_work: bool = True,
) -> None:
    """Writes config.json and versions.json, or checks that the folder belongs to the same run.

    Args:
      folder: an existing workdir.
      config: the resolved config.
      free: keys, dotted, that may differ between the starts of one run (a prefix frees its
        sub-keys).
      holds_work: whether the folder has something that was made with its config. If not, another
        config of the same command replaces it, with a note that names the keys.

    Raises:
      UserError: the folder cannot be written, has another config, or is not shared by all
        processes.
    """
    folder = epath.Path(folder)
    path = folder / CONFIG_FILE

    def write_both() -> None:
        write(path, config.to_json_best_effort(indent=2, sort_keys=True) + "\n")
        write(folder / VERSIONS_FILE, json.dumps(versions(), indent=2) + "\n")

    def check() -> None:
        if holds_work:
            refuse_another(folder, config, free)
        else:
            _tell_replaced(folder, config, free)

    distributed.together(lambda: check() if path.exists() else None)
    distributed.together(write_both if jax.process_index() == 0 else lambda: None)
    if not path.exists():
        raise UserError(
            f"{path}: written by process 0, not found by process {jax.process_index()}; expected "
            "a --workdir that all hosts share: a network file system, or object storage."
        )


def agree(folder: os.PathLike | str, config: ml_collections.ConfigDict, data: str) -> None:
    """Compares config, versions and data across processes, before one of them touches the folder.

    The processes may have their data in different places (`config.data_dir`).

    Args:
      folder, config: see `start`.
      data: a one-line fingerprint of the data.

    Raises:
      UserError: on all processes, if they differ.
    """
    settings = {f"config.{key}": value for key, value in flat(config).items()}
    settings.pop("config.data_dir", None)
    distributed.agree({"--workdir": folder, "data": data, **versions(), **settings})


def refuse_another(
    folder: os.PathLike | str, config: ml_collections.ConfigDict, free: set[str]
) -> None:
    """Raises `UserError`, naming keys, unless the run in `folder` has this config.

    Args:
      folder, config, free: see `start`.
    """
    before = read_config(folder)
    _refuse_another_kind(folder, before, config)
    if changed := _changed(before, config, free):
        raise UserError(
            f"{epath.Path(folder) / CONFIG_FILE}: this workdir belongs to a run with another "
            "config:\n  "
            + "\n  ".join(changed)
            + "\nUse a new --workdir, or the config of the run to resume it."
        )


def _tell_replaced(
    folder: os.PathLike | str, config: ml_collections.ConfigDict, free: set[str]
) -> None:
    """Prints how the config in `folder`, with which nothing was made, differs from a new one."""
    path = epath.Path(folder) / CONFIG_FILE
    try:
        before = read_config(folder)
    except UserError as error:
        console.say(f"note: {error} Nothing was made with it, so it is replaced.")
        return
    _refuse_another_kind(folder, before, config)
    if changed := _changed(before, config, free):
        console.say(
            f"note: {path} is of an earlier start that ended before it saved anything; it is "
            "replaced:\n  " + "\n  ".join(changed)
        )


def _changed(
    before: ml_collections.ConfigDict, config: ml_collections.ConfigDict, free: set[str]
) -> list[str]:
    """A line for each key that differs and is not free."""
    was, now = flat(before), flat(config)
    return [
        f"config.{key}: {was.get(key, 'absent')} in the workdir, {now.get(key, 'absent')} now"
        for key in sorted(was.keys() | now.keys())
        if was.get(key) != now.get(key)  # None means "not given", as absent does
        and not any(key == name or key.startswith(f"{name}.") for name in free)
    ]


def _refuse_another_kind(
    folder: os.PathLike | str,
    before: ml_collections.ConfigDict,
    config: ml_collections.ConfigDict,
) -> None:
    """Raises `UserError` if another command made the folder, such as pre-training."""
    was, now = _kind(before), _kind(config)
    if was != now:
        name = config.get("protocol")
        place = f", such as --workdir={epath.Path(folder) / name}" if name else ""
        raise UserError(
            f"{folder}: the workdir of {was}; expected a folder of its own for {now}{place}. "
            "Nothing was changed."
        )


def _kind(config: ml_collections.ConfigDict) -> str:
    """What made a workdir with this config."""
    if "protocol" in config:
        return "an evaluation"
    if "imported" in config:
        return "imported weights"
    return "a pre-training run" if "method" in config else "a comparison"


# Files of a workdir that commands read again.
_OWN_FILES = (
    CONFIG_FILE, VERSIONS_FILE, ".lock", "metrics.jsonl", "results.json", "row.json", "scores.npz",
    "model.safetensors", "per_class.csv", "writers.json",
)  # fmt: skip


def refuse_own_file(path: os.PathLike | str, flag: str) -> None:
    """Raises `UserError` if writing `path` would damage a workdir.

    Args:
      path: a file that a user names.
      flag: with which it is named.
    """
    path = paths.absolute(path)
    for folder in (path.parent, *path.parent.parents):
        if not (folder / CONFIG_FILE).exists():
            continue
        inner = path.relative_to(folder).parts
        if inner[0] in ("checkpoints", "tensorboard") or inner[-1] in _OWN_FILES:
            raise UserError(
                f"{flag}={path}: a file of the workdir {folder}, which commands read again; "
                "expected another name or folder. Nothing was changed."
            )
        return


def read_config(folder: os.PathLike | str) -> ml_collections.ConfigDict:
    """The resolved config of the run that made `folder`; `UserError` if there is none."""
    path = epath.Path(folder) / CONFIG_FILE
    if not path.exists():
        raise UserError(
            f"{path}: not found; expected the workdir of a run of `python -m amr_jax.pretrain`."
        )
    try:
        config = ml_collections.ConfigDict(json.loads(path.read_text()))
    except ValueError as error:
        raise UserError(f"{path}: not readable as JSON ({error}).") from error
    _migrate(config)
    return config


# Keys whose 0 or '' meant "not given" before version 0.2.0, which writes null.
_WERE_ZERO = (
    "model.num_visible", "model.num_decoded", "optim.clip_norm", "optim.ema_decay", "pretrained",
    "step", "epochs", "only",
)  # fmt: skip


# The form of the encoder before its settings.
_FIRST_ENCODER = {
    "position": "grid", "class_token": False, "registers": 0, "mask_token": False, "mlp": "gelu",
    "residual_dtype": "compute",
}  # fmt: skip


# What versions up to 0.2.0 computed with, where a setting is newer: by a key of the configs that
# have the setting (of pre-training, evaluation, comparisons, …), or KEY=VALUE; then by the
# setting's.
_BEFORE = {
    "method": {
        "judged": "encoder",
        "input.body_frame": "none",
        "input.absent_frames": "counted",
        "input.mixture": "proportional",
        "encoder.patch_init": "xavier",
        **{f"encoder.{key}": value for key, value in _FIRST_ENCODER.items()},
        "optim.decay_on": "kernels",
        "optim.schedule_epochs": None,
        "optim.weight_decay_end": None,
        "optim.layer_decay": 1.0,
        "optim.embed_scale": 1.0,
        "optim.freeze_epochs": None,
        "start_from": None,
        "matmul_precision": "default",
        "size": None,
    },
    "protocol": {
        "size": None,
        "second_body": "zeros",
        "time_embeddings": "linear",
        "optim.decay_on": "kernels",
        "scratch.input.body_frame": "none",
        "scratch.encoder.patch_init": "xavier",
        **{f"scratch.encoder.{key}": value for key, value in _FIRST_ENCODER.items()},
        "matmul_precision": "default",
    },
    "encode_batch_size": {"readout": "mean", "raw_coordinates": False},
    "protocol=knn": {"whiten": False},
    "protocol=retrieval": {"whiten": False},
    "rows": {"published": False, "validation": False, "size": None},
    "model.mask_ratio": {"model.round_visible": "nearest"},
    "model.target": {"model.motion_stride": 1},
}


def _migrate(config: ml_collections.ConfigDict) -> None:
    """Brings a config that an earlier version wrote to the form of this one, in place."""
    for key in _WERE_ZERO:
        section, _, last = key.rpartition(".")
        owner = config.get(section, {}) if section else config
        if last in owner and not owner[last]:
            owner[last] = None
    if "method" in config:
        # The first runs of 0.1.0 had no such keys: joints, stored as float32.
        config.input.stream = config.input.get("stream", "joint")
        config.input.storage = config.input.get("storage", "float32")
    for kind, before in _BEFORE.items():
        has, _, expected = kind.partition("=")
        if config.get(has) is None or (expected and config[has] != expected):
            continue
        for key, value in before.items():
            *sections, last = key.split(".")
            owner = functools.reduce(lambda of, name: (of or {}).get(name), sections, config)
            if owner is not None and last not in owner:
                owner[last] = value


def flat(config: ml_collections.ConfigDict) -> dict[str, object]:
    """The values by their dotted keys, as JSON stores them: a tuple is a list."""
    items = {}

    def add(tree: dict, prefix: str) -> None:
        for key, value in tree.items():
            if isinstance(value, dict):
                add(value, f"{prefix}{key}.")
            else:
                items[prefix + key] = value

    add(json.loads(config.to_json_best_effort()), "")
    return items
