"""Checkpoints of everything that a run needs to go on, by Orbax; and the encoder alone, for use.

A checkpoint holds parameters, optimizer state, the encoder's average and the step. Random keys and
the position in the data follow from the step and the config's seed, so they need no place in it.
"""

import os

import flax.serialization
import jax
import ml_collections
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from amr_jax import paths
from amr_jax import workdir as workdirs
from amr_jax.errors import UserError

FOLDER = "checkpoints"


class _Manager(ocp.CheckpointManager):
    def reached_preemption(self, step: int) -> bool:
        """Not asked here: who asks JAX's service must do so with numbers without gaps."""
        del step
        return False


class Checkpoints:
    """The checkpoints of one workdir: saved in the background, the last `keep` of them kept."""

    def __init__(self, workdir: os.PathLike | str, keep: int):
        self._folder = paths.absolute(workdir) / FOLDER
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True)
        self._manager = _Manager(self._folder, options=options)

    def latest_step(self) -> int | None:
        """Step of the newest complete checkpoint; None if there is none."""
        return self._manager.latest_step()

    def save(self, step: int, state) -> None:
        """Starts to save; returns when the state is copied and may be overwritten."""
        tree = flax.serialization.to_state_dict(state)
        try:
            self._manager.save(step, args=ocp.args.Composite(state=ocp.args.StandardSave(tree)))
        except Exception as error:  # an earlier save's failure may surface here, as any type
            raise self._save_error(error) from error

    def wait(self) -> None:
        """Returns when what was to be saved is saved."""
        try:
            self._manager.wait_until_finished()
        except Exception as error:  # tensorstore, gRPC and Python's own OSError all arrive here
            raise self._save_error(error) from error

    def restore(self, state):
        """The newest checkpoint, laid out over devices as `state` is.

        Args:
          state: a state of the same structure: its shapes, dtypes and shardings are the target.

        Raises:
          UserError: the checkpoint is of another architecture, or damaged.
        """
        step = self.latest_step()
        tree = flax.serialization.to_state_dict(state)
        target = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree
        )
        check_same(_stored(self._folder, step), target, self._folder / str(step))
        try:
            restored = self._manager.restore(
                step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target))
            )
        except Exception as error:  # whatever Orbax and tensorstore make of damaged files
            raise _damaged(self._folder / str(step), error) from error
        return flax.serialization.from_state_dict(state, restored["state"])

    def close(self) -> None:
        """Waits for saves and ends the background threads."""
        self.wait()
        self._manager.close()

    def _save_error(self, error: Exception) -> UserError:
        reason = str(error).strip().splitlines()
        return UserError(
            f"{self._folder}: a checkpoint could not be saved: {reason[0] if reason else error!r}\n"
            f"The last complete one is of step {self._manager.latest_step()}. Make room (or choose "
            "another --workdir) and start the same command again: it goes on from there."
        )


def load_encoder(
    workdir: os.PathLike | str, step: int | None = None, average: bool = False
) -> tuple[dict, ml_collections.ConfigDict, int]:
    """The encoder of a pre-training run, on the host.

    Args:
      workdir: the run's.
      step: of which checkpoint; default the newest.
      average: the exponential moving average of the encoder instead of its last value.

    Returns:
      Its parameters (nested dict of numpy arrays), the run's resolved config, and the step.

    Raises:
      UserError: no such run, no complete checkpoint, or damaged files.
    """
    folder, config, step = _find(workdir, step)
    stored = _stored(folder, step)
    if not average:
        tree = {"params": {"encoder": stored["params"]["encoder"]}}
        return _read(folder, step, tree)["params"]["encoder"], config, step
    if not stored["average"]:
        raise UserError(
            f"{folder.parent}: this run kept no average of its encoder (its config has "
            "optim.ema_decay=0); evaluate the encoder itself."
        )
    return _read(folder, step, {"average": stored["average"]})["average"], config, step


def load_params(
    workdir: os.PathLike | str, step: int | None = None
) -> tuple[dict, ml_collections.ConfigDict, int]:
    """All parameters of a pre-training run; arguments, returns and errors as `load_encoder`."""
    folder, config, step = _find(workdir, step)
    tree = {"params": _stored(folder, step)["params"]}
    return _read(folder, step, tree)["params"], config, step


def has_one(workdir: os.PathLike | str) -> bool:
    """Whether there is a complete checkpoint in `workdir`; a folder that is not there has none."""
    return bool(_steps(epath.Path(workdir).expanduser() / FOLDER))


def _find(
    workdir: os.PathLike | str, step: int | None
) -> tuple[epath.Path, ml_collections.ConfigDict, int]:
    """The folder of checkpoints, the run's config, and the step: that one, or the newest."""
    workdir = paths.absolute(workdir)
    config = workdirs.read_config(workdir)
    if "protocol" in config:
        raise UserError(
            f"{workdir}: the workdir of an evaluation by {config.protocol!r}; expected that of a "
            "pre-training run" + (f", as {config.pretrained}." if config.get("pretrained") else ".")
        )
    folder = workdir / FOLDER
    steps = _steps(folder)
    if not steps or (step is not None and step not in steps):
        found = f"steps {', '.join(map(str, steps))}" if steps else "no complete checkpoint"
        raise UserError(f"{folder}: found {found}; expected {step if step is not None else 'one'}.")
    return folder, config, steps[-1] if step is None else step


def _read(folder: epath.Path, step: int, tree: dict) -> dict:
    """The part of a checkpoint that `tree`, of its metadata, names; as numpy arrays."""
    restore = ocp.args.PyTreeRestore(
        item=jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree),
        restore_args=jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree),
        partial_restore=True,
    )
    try:
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
            return checkpointer.restore(folder / str(step) / "state", restore)
    except Exception as error:  # whatever Orbax and tensorstore make of damaged files
        raise _damaged(folder / str(step), error) from error


def check_same(stored, expected, path: os.PathLike | str) -> None:
    """Refuses a checkpoint whose arrays differ in name, shape or dtype from the config's."""
    stored, expected = _described(stored), _described(expected)
    differing = [
        f"{name}: {stored.get(name, 'absent')} in the checkpoint, "
        f"{expected.get(name, 'absent')} by the config"
        for name in sorted(stored.keys() | expected.keys())
        if stored.get(name) != expected.get(name)
    ]
    if differing:
        more = f"\n  … and {len(differing) - 5} more" if len(differing) > 5 else ""
        raise UserError(
            f"{path}: a checkpoint of another architecture than the config's:\n  "
            + "\n  ".join(differing[:5])
            + more
            + "\nUse the config that it was trained with, or another folder."
        )


def _described(tree) -> dict[str, str]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        "/".join(str(getattr(key, "key", key)) for key in path): (
            f"{tuple(leaf.shape)} {np.dtype(leaf.dtype).name}"
        )
        for path, leaf in leaves
    }


def _stored(folder: epath.Path, step: int):
    """Shapes and dtypes of a stored state, by its metadata."""
    try:
        return ocp.PyTreeCheckpointHandler().metadata(folder / str(step) / "state").tree
    except Exception as error:  # missing or damaged metadata files
        raise _damaged(folder / str(step), error) from error


def _damaged(path: epath.Path, error: Exception) -> UserError:
    reason = str(error).strip().splitlines()
    older = [step for step in _steps(path.parent) if step < int(path.name)]
    advice = (
        f"Move it away to use the one before it, of step {older[-1]}."
        if older
        else "There is none before it."
    )
    return UserError(
        f"{path}: this checkpoint is damaged ({reason[0] if reason else repr(error)}). {advice}"
    )


def _steps(folder: epath.Path) -> list[int]:
    """The steps of which there is a complete checkpoint, ascending."""
    if not folder.exists():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())
