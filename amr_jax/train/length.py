"""The length of a run and its schedule: whether a run may be made longer or shorter.

The learning rate follows a cosine to the last epoch, so another `epochs` would have given the steps
that are done another learning rate. A run with another length is accepted where the steps done stay
what they are: before the decay begins, with `min_lr` = `lr`, or with `schedule_epochs`, which
leaves the decay where it was and appends epochs at `min_lr`.
"""

import os
from collections.abc import Callable

import ml_collections
import numpy as np
import optax
from etils import epath
from flax import linen as nn

from amr_jax.errors import UserError
from amr_jax.run import checkpoint, checkpoint_step, console
from amr_jax.run import workdir as workdirs
from amr_jax.train import optim
from amr_jax.train.loop import Plan


def free(folder: os.PathLike | str) -> set[str]:
    """The keys of the length, if `require_same_past` compares them: with steps done."""
    return {"epochs", "optim.schedule_epochs"} if checkpoint.has_one(folder) else set()


def schedule(config: ml_collections.ConfigDict, plan: Plan) -> optax.Schedule:
    """The learning rate by step, from the section `optim`."""
    warmup_steps = round(config.warmup_epochs * plan.steps_per_epoch)
    return optim.schedule(config.lr, config.min_lr, warmup_steps, plan.schedule_steps)


def require_same_past(
    folder: epath.Path,
    config: ml_collections.ConfigDict,
    units: tuple[int, int],
    method: nn.Module,
) -> None:
    """Accepts another length of the run in `folder`, with a note, or refuses it.

    Args:
      folder: the workdir.
      config: of this start, resolved.
      units: of the data, see `Plan.of`.
      method: its momentum follows a curve, too.

    Raises:
      UserError: the steps done would have had another learning rate or momentum, or are more than
        the new length has.
    """
    steps = checkpoint_step.steps(folder / checkpoint.FOLDER)
    if not steps or not (folder / workdirs.CONFIG_FILE).exists():
        return
    before = workdirs.read_config(folder)
    if "epochs" not in before:  # imported weights: refused when the run records its config
        return
    was, now = _length(before), _length(config)
    if was == now:
        return
    change = (
        f"{folder} was planned for {was[0]} epochs with a schedule of {was[1]}; expected now: "
        f"{now[0]} epochs with a schedule of {now[1]}"
    )
    done, (former, plan) = steps[0], (Plan.of(c, *units) for c in (before, config))
    if plan.total_steps < done:
        raise UserError(
            f"{change}. It holds step {done:,}, and this length has {plan.total_steps:,} steps. "
            "Use a new --workdir for a shorter run."
        )
    rates = [schedule(c.optim, p) for c, p in ((before, former), (config, plan))]
    momenta = [_momentum(method, p) for p in (former, plan)]
    for name, curves in (("learning rate", rates), ("momentum of the target encoder", momenta)):
        one, other = (np.asarray(curve(np.arange(done))) for curve in curves)
        if differing := np.flatnonzero(one != other).tolist():
            at = differing[-1]
            raise UserError(
                f"{change}. The {name} follows a curve over the whole run, so the {done:,} steps "
                f"done would be those of another run (step {at:,} had {one[at]:.4g}, now it would "
                f"have {other[at]:.4g}). {_advice(was, now, config.optim.min_lr)}"
            )
    first, last = (float(rates[1](step)) for step in (done, plan.total_steps - 1))
    console.say(
        f"note: {change}. The {done:,} steps done stay what they are; the learning rate of the "
        f"others is {first:.4g} at first and {last:.4g} in the end."
    )


def _length(config: ml_collections.ConfigDict) -> tuple[float, float]:
    """Epochs of the run, and of the decay."""
    return config.epochs, config.optim.schedule_epochs or config.epochs


def _momentum(method: nn.Module, plan: Plan) -> Callable[[np.ndarray], np.ndarray]:
    """The momentum of the target encoder by step; 0 without one."""

    def momentum(steps: np.ndarray) -> np.ndarray:
        progress = np.minimum((steps + 1) / plan.schedule_steps, 1)
        return method.momentum(progress) if method.momentum_encoder else np.zeros(len(steps))

    return momentum


def _advice(was: tuple[float, float], now: tuple[float, float], min_lr: float) -> str:
    new = f"For a run of {now[0]} epochs with its own schedule, use a new --workdir."
    if now[0] <= was[0]:
        return new
    return (
        f"To go on from there with the learning rate {min_lr:.4g}, its last one: "
        f"--config.epochs={now[0]} --config.optim.schedule_epochs={was[1]}. {new}"
    )
