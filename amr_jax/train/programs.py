"""The compiled programs of a run."""

import time
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh

from amr_jax.run import sharding
from amr_jax.train.step import TrainState, Tree


class Programs:
    """A dispatch, compiled once for each length of batches.

    Args:
      dispatch: see `step.make_dispatch`.
      seed: an argument of it.
      mesh: the devices.
      on_compiled: called with each program, and the seconds that compiling it took.
    """

    def __init__(
        self,
        dispatch: Callable,
        seed: jax.Array,
        mesh: Mesh,
        on_compiled: Callable[[jax.stages.Compiled, float], None],
    ):
        self._dispatch, self._seed, self._on_compiled = dispatch, seed, on_compiled
        self._counts: dict[int, jax.Array] = {}
        self._mesh = mesh
        self._compiled: dict[tuple, jax.stages.Compiled] = {}

    def __call__(
        self, state: TrainState, arrays: Tree, batches: Tree, steps: int
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """Runs the first `steps` of `batches`; see `step.make_dispatch`."""
        if steps not in self._counts:
            with jax.transfer_guard("allow"):  # a number, once for each length
                self._counts[steps] = sharding.put(np.int32(steps), sharding.replicated(self._mesh))
        given = {"seed": self._seed, "count": self._counts[steps]}
        shape = tuple(x.shape for x in jax.tree.leaves(batches))
        if shape not in self._compiled:
            start = time.monotonic()
            program = self._dispatch.lower(state, arrays, batches, **given).compile()
            self._compiled[shape] = program
            self._on_compiled(program, time.monotonic() - start)
        return self._compiled[shape](state, arrays, batches, **given)
