"""The two parts of a frozen evaluation, on test sets of any size: features, and neighbours."""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from amr_jax import methods as registry
from amr_jax.data import division
from amr_jax.data.records import Bodies
from amr_jax.evaluation import encoder_under_test
from amr_jax.evaluation.protocols import features, knn
from amr_jax.ops import augment
from amr_jax.run import sharding

BATCH = 64  # bodies encoded at once, as in configs/knn.py


class Call:
    """A function that is timed, with what `program.Program` has for that.

    Attributes:
      step_s: seconds of each call.
    """

    problem = memory_bytes = None

    def __init__(self, function: Callable[[], jax.Array | np.ndarray]):
        self._function = function
        self.step_s: list[float] = []

    def warm_up(self) -> None:
        """The first call, which compiles."""
        jax.block_until_ready(self._function())

    def time_step(self) -> None:
        """One call, timed until the device is done."""
        start = time.perf_counter()
        jax.block_until_ready(self._function())
        self.step_s.append(time.perf_counter() - start)


def random_bodies(count: int, frames: int, num_joints: int, channels: int) -> Bodies:
    """`count` sequences of one body: random walks of `frames` frames."""
    shape = (count, frames, num_joints, channels)
    walk = np.random.default_rng(0).normal(scale=0.01, size=shape).astype(np.float32)
    numbers = np.arange(count, dtype=np.int32)
    return Bodies(
        frames=walk.cumsum(1).reshape(-1, num_joints, channels),
        offset=numbers * frames,
        length=np.full(count, frames, np.int32),
        sequence=numbers,
        present=np.ones((count, 1), bool),
        label=np.zeros(count, np.int32),
        names=np.array([f"walk {i}" for i in range(count)]),
        class_names=("walk",),
    )


def extraction(config: ml_collections.ConfigDict) -> Callable[[int], Call]:
    """A function of the number of bodies: their features, by the encoder of `config`, untrained."""
    encoder, mesh = registry.build(config).encoder, sharding.make_mesh(jax.devices()[:1])
    params = sharding.put(
        encoder_under_test.random_params(encoder, config.seed), sharding.replicated(mesh)
    )

    def view(key, clip, length):
        del key  # nothing is drawn
        return augment.test_view(
            clip, length, num_frames=encoder.num_frames, fraction=0.95, stream="joint", parents=()
        )

    def of(count: int) -> Call:
        sizes = encoder.num_frames, encoder.num_joints, encoder.channels
        split = features.Split(division.divide(random_bodies(count, *sizes), mesh))
        key = jax.random.key(config.seed)
        return Call(lambda: features.extract(encoder, params, split, view, key, batch_size=BATCH))

    return of


def neighbours(width: int, bank_size: int) -> Callable[[int], Call]:
    """A function of the number of queries: their 1-NN in a bank of random features (·, width)."""
    mesh = sharding.make_mesh(jax.devices()[:1])
    everywhere = sharding.replicated(mesh)
    rng = np.random.default_rng(0)

    def draw(rows):
        return sharding.put(rng.normal(size=(rows, width)).astype(np.float32), everywhere)

    bank = draw(bank_size)
    labels = jax.device_put(jnp.arange(bank_size, dtype=jnp.int32), everywhere)

    def of(count: int) -> Call:
        queries = draw(count)
        return Call(lambda: knn.classify(queries, bank, labels, k=1, mesh=mesh))

    return of
