"""Checkpoints, written by Orbax: a run's whole state, to resume it; its encoder, to use it.

A checkpoint holds a `train.step.TrainState`. Random keys and the position in the data follow from
the step and the config's seed. Everything that is read is verified by the checksums saved with it.
A resumed run renames a damaged newest checkpoint, so that Orbax does not read it as a step, and
uses the one before it. Loading the encoder of a run changes nothing in its folder.
"""

import os
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import flax.serialization
import jax
import ml_collections
import orbax.checkpoint as ocp
from etils import epath

from amr_jax.errors import UserError
from amr_jax.run import checkpoint_step, checksums, console, distributed, paths
from amr_jax.run import workdir as workdirs
from amr_jax.run.checkpoint_step import Damaged

FOLDER = "checkpoints"

# Prefix of the name of a damaged checkpoint, before its step.
ASIDE = "damaged-"

T = TypeVar("T")


class _Manager(ocp.CheckpointManager):
    def reached_preemption(self, step: int) -> bool:
        """Never asks JAX's preemption service: `StopRequest` does, and must be the only one."""
        del step
        return False


class Checkpoints:
    """The checkpoints of one workdir: saved in the background, the last `keep` of them kept."""

    def __init__(self, workdir: os.PathLike | str, keep: int):
        self._folder = paths.absolute(workdir) / FOLDER
        _refuse_patterns(self._folder)
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            cleanup_tmp_directories=True,
            lightweight_initialize=True,  # do not read the steps: one may be damaged
        )
        try:
            self._manager = _Manager(self._folder, options=options)
        except OSError as error:
            raise UserError(f"{self._folder}: cannot be used for checkpoints ({error}).") from error

    def steps(self) -> list[int]:
        """The steps of all complete checkpoints, newest first."""
        return checkpoint_step.steps(self._folder)

    def save(self, step: int, state) -> None:
        """Starts to save; returns when the state is copied and may be overwritten."""
        arguments = checkpoint_step.save_arguments(flax.serialization.to_state_dict(state))
        try:
            self._manager.save(step, args=arguments)
        except Exception as error:  # the failure of an earlier save may surface here, as any type
            raise self._save_error(error) from error

    def wait(self) -> None:
        """Returns when all saves are complete."""
        try:
            self._manager.wait_until_finished()
        except Exception as error:  # from TensorStore, gRPC or Python's file system calls
            raise self._save_error(error) from error

    def close(self) -> None:
        """Waits for saves and ends the background threads."""
        self.wait()
        self._manager.close()

    def restore(self, state):
        """The newest intact checkpoint in the layout of `state`; on every process.

        Damaged newer ones are renamed, with a warning, but never the oldest one: a run must not
        lose all its work unasked.

        Args:
          state: a state of the same structure, for shapes, dtypes and shardings.

        Raises:
          UserError: no whole checkpoint; one of another architecture; unreadable at the moment.
        """
        tree = flax.serialization.to_state_dict(state)
        target = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree
        )

        def choose(stored: dict) -> dict:
            check_same(stored, target, self._folder)
            return target

        def read(path: epath.Path) -> dict:
            return checkpoint_step.read(path, choose, on_devices=True)

        def on_damage(error: Damaged, before: int) -> None:
            console.say(
                f"warning: {error} It is renamed to {self._set_aside(error.path)}; the run resumes "
                f"from the checkpoint before it, step {before}."
            )

        _, restored = _newest_whole(self._folder, self.steps(), read, on_damage)
        return flax.serialization.from_state_dict(state, restored)

    def _set_aside(self, path: epath.Path) -> str:
        """Renames the folder of a step; returns the new name. Every process calls this."""
        aside = path.with_name(f"{ASIDE}{int(path.name):06d}")
        if aside.exists():  # this step was damaged before
            aside = path.with_name(f"{aside.name}-{time.time_ns()}")
        distributed.together(lambda: path.rename(aside) if jax.process_index() == 0 else None)
        self._manager.reload()
        return aside.name

    def _save_error(self, error: Exception) -> UserError:
        newest = f"of step {self.steps()[0]}" if self.steps() else "none"
        return UserError(
            f"{self._folder}: a checkpoint could not be saved: "
            f"{checkpoint_step.first_line(error)}\nThe last complete one is {newest}. Remove the "
            "cause (a full disk, say); the same command then resumes from there."
        )


def _refuse_patterns(folder: epath.Path) -> None:
    """Refuses folders in which a save would complete, but lose the state.

    Orbax takes the folder for a pattern, and TensorStore a backslash for a slash.
    """
    if odd := sorted(set("*?[\\") & set(os.fspath(folder))):
        raise UserError(
            f"{folder}: found {odd[0]} in the path; expected a --workdir without * ? [ and \\. "
            "Checkpoints cannot be written there: rename the folder, or choose another one."
        )


def load_encoder(
    workdir: os.PathLike | str, step: int | None = None, average: bool | None = None
) -> tuple[dict, ml_collections.ConfigDict, int]:
    """The encoder of a pre-training run, on the host.

    Args:
      workdir: of the run.
      step: of the checkpoint; default the newest.
      average: load the exponential moving average of the encoder instead of its last value; None:
        as the run's config says (`judged`).

    Returns:
      Its parameters (nested dict of numpy arrays), the run's resolved config, and the step.

    Raises:
      UserError: no such run, no complete checkpoint, or damaged files.
    """

    if average is None:
        average = workdirs.read_config(paths.absolute(workdir)).get("judged") == "average"

    def encoder(stored: dict) -> dict:
        if not average:
            return {"params": {"encoder": stored["params"]["encoder"]}}
        if not stored["average"]:
            raise UserError(
                f"{workdir}: this run kept no average of its encoder (its config has no "
                "optim.ema_decay); evaluate the encoder itself."
            )
        return {"average": stored["average"]}

    tree, config, step = _load(workdir, step, encoder)
    return tree["average"] if average else tree["params"]["encoder"], config, step


def load_params(
    workdir: os.PathLike | str, step: int | None = None
) -> tuple[dict, ml_collections.ConfigDict, int]:
    """All parameters of a pre-training run; arguments, returns and errors as `load_encoder`."""
    tree, config, step = _load(workdir, step, lambda stored: {"params": stored["params"]})
    return tree["params"], config, step


def has_one(workdir: os.PathLike | str) -> bool:
    """Whether `workdir` exists and holds a complete checkpoint."""
    return bool(checkpoint_step.steps(epath.Path(workdir).expanduser() / FOLDER))


def _load(
    workdir: os.PathLike | str, step: int | None, part: Callable[[dict], dict]
) -> tuple[dict, ml_collections.ConfigDict, int]:
    """`part` of the arrays of a step, or of the newest intact one; the run's config; the step."""
    workdir = paths.absolute(workdir)
    config = workdirs.read_config(workdir)
    if "protocol" in config:
        raise UserError(
            f"{workdir}: the workdir of an evaluation by {config.protocol!r}; expected that of a "
            "pre-training run" + (f", as {config.pretrained}." if config.get("pretrained") else ".")
        )
    folder = workdir / FOLDER
    steps = checkpoint_step.steps(folder)
    if not steps:
        raise UserError(
            f"{folder}: found no complete checkpoint; expected one. This run has not reached its "
            "first, or ended before. Start its pretrain command again: with this workdir it begins "
            "anew, also with other settings. (config.checkpoint.epochs is the time between two.)"
        )
    if step is not None and step not in steps:
        found = f"steps {', '.join(map(str, steps[::-1]))}"
        raise UserError(f"{folder}: found {found}; expected {step}.")

    def read(path: epath.Path) -> dict:
        return checkpoint_step.read(path, part)

    def on_damage(error: Damaged, before: int) -> None:
        console.say(f"warning: {error} The checkpoint before it is used, step {before}.")

    if step is not None:
        return read(folder / str(step)), config, step
    step, tree = _newest_whole(folder, steps, read, on_damage)
    return tree, config, step


def _newest_whole(
    folder: epath.Path,
    steps: Sequence[int],
    read: Callable[[epath.Path], T],
    on_damage: Callable[[Damaged, int], None],
) -> tuple[int, T]:
    """The first of `steps` that `read` finds intact, and what it returns.

    Args:
      steps: newest first; at least one.
      on_damage: called for each damaged step, with the step before it.
    """
    for step, before in zip(steps, [*steps[1:], None], strict=True):
        try:
            return step, read(folder / str(step))
        except Damaged as error:
            if before is None:
                raise UserError(
                    f"{error} There is no earlier one. It was left in place; move it away to start "
                    "from the beginning."
                ) from error
            on_damage(error, before)
    raise AssertionError("steps is empty")


def check_same(stored, expected, path: os.PathLike | str) -> None:
    """Raises `UserError` if arrays differ in name, shape or dtype from those of the config."""
    stored, expected = checksums.described(stored), checksums.described(expected)
    differing = [
        f"{name}: {stored.get(name, 'absent')} in the checkpoint, "
        f"{expected.get(name, 'absent')} by the config"
        for name in sorted(stored.keys() | expected.keys())
        if stored.get(name) != expected.get(name)
    ]
    if differing:
        more = f"\n  … and {len(differing) - 5} more" if differing[5:] else ""
        raise UserError(
            f"{path}: a checkpoint of another architecture than the config's:\n  "
            + "\n  ".join(differing[:5])
            + more
            + "\nUse the config that it was trained with, or another folder."
        )
