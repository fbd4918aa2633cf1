"""Checkpoints of everything that a run needs to go on, by Orbax; and the encoder alone, for use.

A checkpoint holds parameters, optimizer state, the encoder's average and the step. Random keys and
the position in the data follow from the step and the config's seed, so they need no place in it.
Whatever is restored is verified by the checksums saved with it. A run that goes on sets a damaged
newest checkpoint aside, under a name that is no step's, and takes the one before it; who only reads
a run's folder changes nothing in it.
"""

import os
from collections.abc import Callable

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

# In front of the step, in the name of a checkpoint that is set aside.
ASIDE = "damaged-"


class _Manager(ocp.CheckpointManager):
    def reached_preemption(self, step: int) -> bool:
        """Not asked here: who asks JAX's service must do so with numbers without gaps."""
        del step
        return False


class Checkpoints:
    """The checkpoints of one workdir: saved in the background, the last `keep` of them kept.

    Args:
      workdir: the run's.
      keep: how many.
    """

    def __init__(self, workdir: os.PathLike | str, keep: int):
        self._folder = paths.absolute(workdir) / FOLDER
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            cleanup_tmp_directories=True,
            # What a damaged step says of itself is for `restore` to meet.
            lightweight_initialize=True,
        )
        try:
            self._manager = _Manager(self._folder, options=options)
        except OSError as error:
            raise UserError(f"{self._folder}: cannot be used for checkpoints ({error}).") from error

    def latest_step(self) -> int | None:
        """Step of the newest complete checkpoint; None if there is none."""
        return self._manager.latest_step()

    def steps(self) -> list[int]:
        """Of all complete checkpoints, newest first."""
        return sorted(self._manager.all_steps(), reverse=True)

    def save(self, step: int, state) -> None:
        """Starts to save; returns when the state is copied and may be overwritten."""
        arguments = checkpoint_step.arguments(flax.serialization.to_state_dict(state))
        try:
            self._manager.save(step, args=arguments)
        except Exception as error:  # an earlier save's failure may surface here, as any type
            raise self._save_error(error) from error

    def wait(self) -> None:
        """Returns when what was to be saved is saved."""
        try:
            self._manager.wait_until_finished()
        except Exception as error:  # tensorstore, gRPC and Python's own OSError all arrive here
            raise self._save_error(error) from error

    def restore(self, state):
        """The newest whole checkpoint, laid out over devices as `state` is; on every process.

        All must see the same `steps`.

        Damaged ones that are newer are set aside, and named on the terminal. The oldest never is:
        with it a run would lose, unasked, all that it has done.

        Args:
          state: a state of the same structure: its shapes, dtypes and shardings are the target.

        Raises:
          UserError: no whole checkpoint; one of another architecture, or unreadable at the moment.
        """
        tree = flax.serialization.to_state_dict(state)
        target = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree
        )
        steps = self.steps()
        for step, before in zip(steps, [*steps[1:], None], strict=True):
            path = self._folder / str(step)
            try:
                restored = _onto_devices(path, target)
            except Damaged as error:
                if before is None:
                    raise _none_left(error) from error
                aside = self._set_aside(path)
                console.say(
                    f"warning: {error} It was set aside as {aside.name}; the run goes on from the "
                    f"one before it, of step {before}."
                )
            else:
                return flax.serialization.from_state_dict(state, restored)
        raise UserError(f"{self._folder}: found no checkpoint to go on from.")

    def _set_aside(self, path: epath.Path) -> epath.Path:
        """Gives a step's folder a name that is no step's to Orbax; on all processes."""
        name, number = f"{ASIDE}{int(path.name):06d}", 1
        aside = path.with_name(name)
        while aside.exists():
            number += 1
            aside = path.with_name(f"{name}-{number}")
        distributed.meet(f"{aside.name}: found")
        if jax.process_index() == 0:
            try:
                path.rename(aside)
            except OSError as error:
                raise UserError(
                    f"{path}: this checkpoint is damaged, and could not be renamed ({error})."
                ) from error
        distributed.meet(f"{aside.name}: renamed")
        self._manager.reload()
        return aside

    def close(self) -> None:
        """Waits for saves and ends the background threads."""
        self.wait()
        self._manager.close()

    def _save_error(self, error: Exception) -> UserError:
        return UserError(
            f"{self._folder}: a checkpoint could not be saved: {checkpoint_step.message(error)}\n"
            f"The last complete one is of step {self.latest_step()}. When that is mended "
            "(room made, say), the same command goes on from there."
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

    def encoder(stored: dict) -> dict:
        if not average:
            return {"params": {"encoder": stored["params"]["encoder"]}}
        if not stored["average"]:
            raise UserError(
                f"{workdir}: this run kept no average of its encoder (its config has "
                "optim.ema_decay=0); evaluate the encoder itself."
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
    """Whether there is a complete checkpoint in `workdir`; a folder that is not there has none."""
    return bool(checkpoint_step.steps(epath.Path(workdir).expanduser() / FOLDER))


def _load(
    workdir: os.PathLike | str, step: int | None, part: Callable[[dict], dict]
) -> tuple[dict, ml_collections.ConfigDict, int]:
    """`part` of the arrays of that step, or of the newest whole one; the run's config; the step."""
    folder, config, steps = _find(workdir, step)
    for candidate, before in zip(steps, [*steps[1:], None], strict=True):
        try:
            kept = checkpoint_step.kept(folder / str(candidate))
            tree = checkpoint_step.on_host(kept, part(kept.arrays))
            break
        except Damaged as error:
            if before is None:
                raise _none_left(error) if step is None else UserError(str(error)) from error
            console.say(f"warning: {error} The one before it is used, of step {before}.")
    return tree, config, candidate


def _find(
    workdir: os.PathLike | str, step: int | None
) -> tuple[epath.Path, ml_collections.ConfigDict, list[int]]:
    """The folder of checkpoints, the run's config, and that step alone, or all, newest first."""
    workdir = paths.absolute(workdir)
    config = workdirs.read_config(workdir)
    if "protocol" in config:
        raise UserError(
            f"{workdir}: the workdir of an evaluation by {config.protocol!r}; expected that of a "
            "pre-training run" + (f", as {config.pretrained}." if config.get("pretrained") else ".")
        )
    folder = workdir / FOLDER
    steps = checkpoint_step.steps(folder)
    if not steps or (step is not None and step not in steps):
        found = f"steps {', '.join(map(str, steps))}" if steps else "no complete checkpoint"
        raise UserError(f"{folder}: found {found}; expected {step if step is not None else 'one'}.")
    return folder, config, steps[::-1] if step is None else [step]


def check_same(stored, expected, path: os.PathLike | str) -> None:
    """Refuses a checkpoint whose arrays differ in name, shape or dtype from the config's."""
    stored, expected = checksums.described(stored), checksums.described(expected)
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


def _onto_devices(path: epath.Path, target) -> dict:
    """The verified state of one step; raises `Damaged`, on all processes alike."""
    kept = checkpoint_step.on_all_processes(path, lambda: checkpoint_step.kept(path))
    check_same(kept.arrays, target, path)
    return checkpoint_step.on_devices(kept, target)


def _none_left(error: Damaged) -> UserError:
    return UserError(
        f"{error} There is none before it. It was left where it is; move it away to begin anew."
    )
