"""The folder of a run: its resolved config, its versions, and atomic writes of files."""

import contextlib
import datetime
import json
import os
import platform
from importlib import metadata

import jax
import ml_collections
from etils import epath

import amr_jax
from amr_jax.errors import UserError
from amr_jax.run import distributed

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


def make(workdir: os.PathLike | str) -> None:
    """Makes the folder if it is absent."""
    try:
        epath.Path(workdir).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--workdir={workdir}: cannot make this folder ({error}).") from error


def remove_leftovers(workdir: os.PathLike | str) -> None:
    """Removes temporary files of `write` that a killed run left; for the owner of the folder."""
    for path in epath.Path(workdir).iterdir():
        if path.name.startswith(".") and path.name.endswith(".tmp"):
            path.unlink(missing_ok=True)


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
    workdir: os.PathLike | str,
    config: ml_collections.ConfigDict,
    free: set[str],
) -> None:
    """Writes config.json and versions.json, or checks that the folder belongs to the same run.

    Args:
      workdir: made if absent.
      config: the resolved config; written on the first start.
      free: keys, dotted, that may differ between the starts of one run (a prefix frees its
        sub-keys).

    Raises:
      UserError: the folder cannot be written, has another config, or is not shared by all
        processes.
    """
    workdir = epath.Path(workdir)
    make(workdir)
    path = workdir / CONFIG_FILE
    if path.exists():
        refuse_another(workdir, config, free)
    distributed.meet("workdir checked")

    def write_both() -> None:
        write(path, config.to_json_best_effort(indent=2, sort_keys=True) + "\n")
        write(workdir / VERSIONS_FILE, json.dumps(versions(), indent=2) + "\n")

    distributed.together(write_both if jax.process_index() == 0 else lambda: None)
    if not path.exists():
        raise UserError(
            f"{path}: written by process 0, not found by process {jax.process_index()}; expected "
            "a --workdir that all hosts share: a network file system, or object storage."
        )


def agree(workdir: os.PathLike | str, config: ml_collections.ConfigDict, data: str) -> None:
    """Compares config, versions and data across processes, before one of them touches the folder.

    The processes may have their data in different places (`config.data_dir`).

    Args:
      workdir, config: see `start`.
      data: a one-line fingerprint of the data.

    Raises:
      UserError: on all processes, if they differ.
    """
    settings = _flat(json.loads(config.to_json_best_effort()), "config.")
    settings.pop("config.data_dir", None)
    distributed.agree({"--workdir": workdir, "data": data, **versions(), **settings})


def refuse_another(
    workdir: os.PathLike | str, config: ml_collections.ConfigDict, free: set[str]
) -> None:
    """Raises `UserError`, naming keys, unless the run in `workdir` has this config.

    Args:
      workdir, config, free: see `start`.
    """
    changed = differences(read_config(workdir), config, free)
    if changed:
        raise UserError(
            f"{epath.Path(workdir) / CONFIG_FILE}: this workdir belongs to a run with another "
            "config:\n  "
            + "\n  ".join(changed)
            + "\nUse a new --workdir, or the config of the run to resume it."
        )


def read_config(workdir: os.PathLike | str) -> ml_collections.ConfigDict:
    """The resolved config of the run that made `workdir`; `UserError` if there is none."""
    path = epath.Path(workdir) / CONFIG_FILE
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
    "model.num_visible",
    "model.num_decoded",
    "optim.clip_norm",
    "optim.ema_decay",
    "pretrained",
    "step",
    "epochs",
    "only",
)


def _migrate(config: ml_collections.ConfigDict) -> None:
    """Brings a config that an earlier version wrote to the form of this one, in place."""
    if "method" in config:
        # Runs from before there was a choice saw joints, and coordinates alone, in float32.
        config.input.stream = config.input.get("stream", "joint")
        config.input.storage = config.input.get("storage", "float32")
        config.encoder.confidence = config.encoder.get("confidence", False)
    for key in _WERE_ZERO:
        section, _, last = key.rpartition(".")
        owner = config.get(section, {}) if section else config
        if last in owner and not owner[last]:
            owner[last] = None


def differences(
    old: ml_collections.ConfigDict, new: ml_collections.ConfigDict, free: set[str]
) -> list[str]:
    """One line for each differing key that is not in `free`."""
    # Through JSON, so that a tuple equals the list it was stored as.
    was, now = (_flat(json.loads(config.to_json_best_effort())) for config in (old, new))
    return [
        f"config.{key}: {was.get(key, 'absent')} in the workdir, {now.get(key, 'absent')} now"
        for key in sorted(was.keys() | now.keys())
        if was.get(key) != now.get(key)  # None means "not given", as absent does
        and not any(key == name or key.startswith(f"{name}.") for name in free)
    ]


def _flat(tree: dict, prefix: str = "") -> dict:
    items = {}
    for key, value in tree.items():
        name = prefix + key
        items |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return items
