"""The training step: views → gradients → update → measurements; many steps in one dispatch."""

import dataclasses
import functools
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import flax
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from jax.sharding import Mesh

from amr_jax.methods.method import HEADS, Method, takes, view_shapes
from amr_jax.models.settings import matmul_precision
from amr_jax.run import sharding
from amr_jax.train.views import make_views

# The random stream of the augmentation; the other streams are the method's.
AUGMENT = "augment"

# The collection of the momentum copies. That of the encoder is `TrainState.average`.
AVERAGE = "average"

# A tree of arrays: parameters, gradients, a method's variables.
Tree = Any
Optimizer = optax.GradientTransformation


@flax.struct.dataclass
class TrainState:
    """Everything that a step changes.

    Attributes:
      step: number of updates done, int32.
      params: parameters of the method; `params['encoder']` is what downstream loads.
      opt_state: state of the optimiser.
      average: exponential moving average of `params['encoder']`; {} if none is kept.
      variables: further collections of the method by name; {} for most.
    """

    step: jax.Array
    params: Tree
    opt_state: Tree
    average: Tree
    variables: Tree


def stream_keys(
    seed: int | jax.Array, step: jax.Array, names: Sequence[str]
) -> dict[str, jax.Array]:
    """One key per named stream, folded with the step: equal on all devices, hosts and restarts.

    A seed may be given as `root(seed)`: an argument of a compiled program, not a constant in it.
    """
    key = jax.random.key(seed) if isinstance(seed, int) else jax.random.wrap_key_data(seed)
    key = jax.random.fold_in(key, step)
    return {name: jax.random.fold_in(key, zlib.crc32(name.encode()) >> 1) for name in names}


def root(seed: int) -> np.ndarray:
    """The key of a seed as numbers (2,) uint32, on the host."""
    with jax.ensure_compile_time_eval():  # also where a caller is traced
        return np.asarray(jax.random.key_data(jax.random.key(seed)))


def keeps_average(method: Method, config: ml_collections.ConfigDict) -> bool:
    """Whether the method or `optim.ema_decay` needs a moving average of the encoder."""
    return method.momentum_encoder or bool(config.optim.ema_decay)


def method_loss(method: Method) -> Callable:
    """A function (params, variables, average, *views, keys, **wanted) → loss, (metrics, changed).

    `wanted` are the arguments that the method `takes`.
    """

    def loss(params, variables, average, *rest, **wanted):
        *views, keys = rest
        given = {"params": params, **variables}
        if method.momentum_encoder:
            given[AVERAGE] = {"encoder": average, **variables.get(AVERAGE, {})}
        mutable = [name for name in variables if name != AVERAGE]
        found, changed = method.apply(given, *views, **wanted, rngs=keys, mutable=mutable)
        return found[0], (found[1], changed)

    return loss


def init_state(method: Method, optimizer: Optimizer, config, mesh: Mesh) -> TrainState:
    """The state before the first step, a function of the seed, in the layout of the mesh."""
    init = _initialiser(method, optimizer, config, mesh)
    shardings = sharding.of_state(jax.eval_shape(init), mesh)
    return jax.jit(init, out_shardings=shardings)(root(config.seed))


def abstract_state(method: Method, optimizer: Optimizer, config, mesh: Mesh) -> TrainState:
    """Shapes and shardings of `init_state`. Computes nothing; the devices may be absent."""
    state = jax.eval_shape(_initialiser(method, optimizer, config, mesh))
    return sharding.abstract(state, sharding.of_state(state, mesh))


def _initialiser(method: Method, optimizer: Optimizer, config, mesh: Mesh) -> Callable:
    """A function of the seed that returns the first state; by default of the config's seed."""

    def init(seed=config.seed):
        keys = stream_keys(seed, jnp.int32(0), ("params", *method.streams))
        views = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), view_shapes(method, bodies=1))
        with sharding.tracing(mesh):
            variables = method.init(keys, views[0], jax.tree.map(jnp.logical_not, views[1]))
        params = variables.pop("params")
        # A copy: the state is donated, and a buffer cannot be donated twice.
        average = jax.tree.map(jnp.copy, params["encoder"]) if keeps_average(method, config) else {}
        return TrainState(jnp.int32(0), params, optimizer.init(params), average, variables)

    return init


@dataclasses.dataclass(frozen=True)
class Step:
    """One training step, stage by stage.

    Attributes:
      method: see `amr_jax.methods`.
      optimizer: see `amr_jax.train.optim`.
      config: the resolved config of the run.
      total_steps: of the schedule; the momentum of a momentum encoder has its last value then.
      mesh: the devices.
    """

    method: Method
    optimizer: optax.GradientTransformation
    config: ml_collections.ConfigDict
    total_steps: int
    mesh: Mesh

    def __call__(
        self, state: TrainState, *clips: jax.Array | None, seed: jax.Array | None = None
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """One update on a batch of `clips`, see `batches.Clips`; `seed`: see `make_dispatch`.

        Returns:
          The state after it, and the metrics of the method with `loss`, `grad_norm`, `param_norm`.
        """
        seed = self.config.seed if seed is None else seed
        keys = stream_keys(seed, state.step, (AUGMENT, *self.method.streams))
        draw = make_views(self.config, self.mesh, self.method.views)
        views, wanted = draw(keys.pop(AUGMENT), *clips), self.wanted(state, *clips)
        (loss, (metrics, variables)), gradient = self.gradients(state, views, keys, wanted)
        after = self.update(state, gradient, variables)
        return after, measurements(loss, metrics, gradient, after.params)

    @functools.cached_property
    def layout(self) -> TrainState:
        """The sharding of every array of the state."""
        state = abstract_state(self.method, self.optimizer, self.config, self.mesh)
        return jax.tree.map(lambda x: x.sharding, state)

    def wanted(
        self, state: TrainState, clips: jax.Array, lengths, joints=None, sequences=None
    ) -> dict[str, jax.Array]:
        """The further arguments that the method `takes`; sequences without numbers all differ."""
        del lengths, joints
        found = {}
        if takes(self.method, "progress"):
            found["progress"] = jnp.minimum(state.step / self.total_steps, 1)
        if takes(self.method, "sequences"):
            sequences = jnp.arange(len(clips)) if sequences is None else sequences
            found["sequences"] = jnp.repeat(sequences, clips.shape[2], axis=0)
        return found

    def gradients(
        self, state: TrainState, views: tuple, keys: dict[str, jax.Array], wanted: dict
    ) -> tuple:
        """(loss, (metrics, variables)) and gradient of a batch, in the layout of the parameters.

        With `optim.accumulate`, the batch is processed in parts and their results are averaged.
        """
        gradient = jax.value_and_grad(method_loss(self.method), has_aux=True)
        # All-gather parameters first; otherwise XLA may reshard the much larger activations.
        given = jax.lax.with_sharding_constraint(
            (state.params, state.variables, state.average), sharding.replicated(self.mesh)
        )
        num_parts = self.config.optim.accumulate
        if num_parts == 1:
            found, gradients = gradient(*given, *views, keys, **wanted)
        else:
            found, gradients = self._averaged(gradient, given, views, keys, wanted, num_parts)
        return found, jax.lax.with_sharding_constraint(gradients, self.layout.params)

    @staticmethod
    def _averaged(
        gradient: Callable, given: tuple, views: tuple, keys: dict, wanted: dict, num_parts: int
    ):
        """The mean over the parts of a batch of `gradient(*given, *part, keys of the part)`.

        A part weighs as much as the share of present values that it holds. Of what is `wanted` it
        gets the scalars, and its own rows of arrays.
        """
        rows = {name: x for name, x in wanted.items() if x.ndim}
        scalars = {name: x for name, x in wanted.items() if not x.ndim}
        # Part i takes every num_parts-th row, so that each device only splits its own rows.
        parts, rows = jax.tree.map(
            lambda x: x.reshape(-1, num_parts, *x.shape[1:]).swapaxes(0, 1), (views, rows)
        )
        count = sum(x.sum((1, 2, 3)) for x in jax.tree.leaves(parts[1]))  # of each part
        weight = jnp.where(count.any(), count / jnp.maximum(count.sum(), 1), 1 / num_parts)

        def add(total, part):
            i, weight, rows, *part_views = part
            part_keys = {name: jax.random.fold_in(key, i) for name, key in keys.items()}
            found = gradient(*given, *part_views, part_keys, **rows, **scalars)
            return jax.tree.map(lambda total, x: total + weight * x, total, found), None

        first, own = jax.tree.map(lambda x: x[0], (parts, rows))
        shapes = jax.eval_shape(gradient, *given, *first, keys, **own, **scalars)
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        total, _ = jax.lax.scan(add, zeros, (jnp.arange(num_parts), weight, rows, *parts))
        return total

    def update(self, state: TrainState, gradient: Tree, variables: Tree) -> TrainState:
        """The state after a step of the optimiser and of the average of the encoder."""
        updates, opt_state = self.optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        average = state.average
        if keeps_average(self.method, self.config):
            keep = self.config.optim.ema_decay
            if self.method.momentum_encoder:
                keep = self.method.momentum(jnp.minimum((state.step + 1) / self.total_steps, 1))
            average = optax.incremental_update(params["encoder"], average, 1 - keep)
            if heads := state.variables.get(AVERAGE, {}).get(HEADS):
                now = {name: params[name] for name in heads}
                heads = optax.incremental_update(now, heads, 1 - keep)
                variables = {**variables, AVERAGE: {HEADS: heads}}
        after = TrainState(state.step + 1, params, opt_state, average, variables)
        # Otherwise XLA may carry all-gathered parameters from one step to the next.
        return jax.lax.with_sharding_constraint(after, self.layout)


def measurements(
    loss: jax.Array, metrics: dict[str, jax.Array], gradient: Tree, params: Tree
) -> dict[str, jax.Array]:
    """The metrics of a step; `params` are those after it."""
    return {
        "loss": loss,
        "grad_norm": optax.tree.norm(gradient),
        # A step with a finite loss can still produce parameters that are not finite.
        "param_norm": optax.tree.norm(params),
        **metrics,
    }


def make_dispatch(
    method: Method,
    optimizer: Optimizer,
    batch_clips: Callable,
    config: ml_collections.ConfigDict,
    total_steps: int,
    mesh: Mesh,
) -> Callable:
    """The jitted function (state, arrays, batches, seed, count) → (state, metrics of each step).

    It runs one step for each leading element of `batches`, and donates the state. With `root(seed)`
    on the devices, runs with other seeds share the compiled program; by default it holds the seed.
    With `count`, an int32 on the devices, it runs the first `count` steps only, and the metrics of
    the others are zero: dispatches of all lengths share one program, and give the same bits.

    Args:
      batch_clips: (arrays, batch) → `batches.Clips`, such as `batches.Resident.clips`.
      method, optimizer, config, total_steps, mesh: see `Step`.
    """
    step = Step(method, optimizer, config, total_steps, mesh)

    def dispatch(state, arrays, batches, seed=None, count=None):
        def one(state, batch):
            return step(state, *batch_clips(arrays, batch), seed=seed)

        def numbered(i, carry):
            state, measured = carry
            state, found = one(state, jax.tree.map(lambda x: x[i], batches))
            return state, jax.tree.map(lambda all, x: all.at[i].set(x), measured, found)

        with (
            matmul_precision(method.encoder.dtype, config.matmul_precision),
            sharding.tracing(mesh),
        ):
            if count is None:
                return jax.lax.scan(one, state, batches)
            _, shapes = jax.eval_shape(functools.partial(jax.lax.scan, one), state, batches)
            zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
            return jax.lax.fori_loop(0, count, numbered, (state, zeros))

    shardings = (step.layout, sharding.replicated(mesh))
    return jax.jit(dispatch, donate_argnums=0, out_shardings=shardings)
