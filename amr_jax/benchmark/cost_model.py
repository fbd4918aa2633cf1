"""A model of the time that a training step takes on n chips (docs/scaling.md).

A chip computes and moves bytes at published rates, and the slower of the two counts. Then the chips
exchange arrays around a ring, after a start and a number of hops. Nothing of the exchange is hidden
behind the computation (`Times.hidden_s` is the other extreme).

Left out: kernels below the published rates, above all on few bodies; launches; the host; input;
stragglers; other traffic on the network; activations that fit into on-chip memory.
"""

import dataclasses
import math

import jax
import ml_collections

from amr_jax.benchmark.accelerators import Accelerator, Links
from amr_jax.benchmark.compiled import PASSES, Collective
from amr_jax.errors import UserError
from amr_jax.run import sharding
from amr_jax.studies import costs

# XLA for GPUs gathers all split parameters in this many operations (full size, 24 November 2026);
# for TPUs, each array in one.
_GATHERS_ON_GPU = 3


@dataclasses.dataclass(frozen=True)
class Work:
    """The work of a training step, on any number of chips.

    Attributes:
      flops: per body.
      fixed_bytes: bytes of main memory moved on every chip for any batch: parameters, gradients
        and the optimiser's moments. body_bytes: bytes moved per body on top.
      parameters: bytes of all parameters, float32. split: bytes of those that `fsdp` splits, which
        are gathered in `gathers` operations.
    """

    flops: float
    fixed_bytes: float
    body_bytes: float
    parameters: float
    split: float
    gathers: int


@dataclasses.dataclass(frozen=True)
class Times:
    """Seconds of a step for a chip's FLOPs, its bytes, and the exchange between chips."""

    compute_s: float
    memory_s: float
    exchange_s: float

    @property
    def step_s(self) -> float:
        """Seconds with no part of the exchange hidden."""
        return max(self.compute_s, self.memory_s) + self.exchange_s

    @property
    def hidden_s(self) -> float:
        """Seconds with all of the exchange hidden behind the computation."""
        return max(self.compute_s, self.memory_s, self.exchange_s)


def work_of(
    config: ml_collections.ConfigDict, memory: tuple[float, float], platform: str = "tpu"
) -> Work:
    """The work of a step.

    Args:
      config: resolved.
      memory: bytes of main memory: for any batch, and per body on top.
      platform: JAX's name of the compiler's platform.
    """
    mesh = sharding.make_mesh(jax.devices()[:1])
    _, state, _ = costs.abstract_training_step(config, mesh)
    leaves = jax.tree.leaves(state.params)
    split = [leaf for leaf in leaves if leaf.size >= sharding.SMALLEST_SPLIT]

    def size(arrays):
        return sum(leaf.size * leaf.dtype.itemsize for leaf in arrays)

    return Work(
        flops=costs.step_flops(config) / config.batch_size,
        fixed_bytes=memory[0],
        body_bytes=memory[1],
        parameters=size(leaves),
        split=size(split),
        gathers=_GATHERS_ON_GPU if platform == "cuda" else len(split),
    )


def exchanged(work: Work, data: int, fsdp: int) -> list[Collective]:
    """The collectives of a step on `data` · `fsdp` chips, as `train.step` and `run.sharding` do it.

    All are float32. Split parameters are gathered once before they are used. Their gradients are
    summed over `fsdp`, every chip keeping its part, then over `data`; all others over all chips.
    (Assumes that `fsdp` divides an axis of every large parameter.)
    """
    split = work.split if fsdp > 1 else 0.0
    found = []
    if split:
        found += [
            Collective("all-gather", fsdp, split / work.gathers, work.gathers),
            Collective("reduce-scatter", fsdp, split),
        ]
    if data > 1 and split:
        found.append(Collective("all-reduce", data, split / fsdp))
    if data * fsdp > 1:
        found.append(Collective("all-reduce", data * fsdp, work.parameters - split))
    return found


def sides(chips: int, axes: int) -> list[int]:
    """The sides of a torus of `chips` chips, as equal as powers of two allow, the largest first.

    Raises:
      UserError: not a power of two.
    """
    doublings = chips.bit_length() - 1
    if chips != 2**doublings:
        raise UserError(f"--chips: found {chips}; slices of a torus have 1, 2, 4, 8, … chips.")
    return [2 ** ((doublings + axes - 1 - axis) // axes) for axis in range(axes)]


def exchange_s(collective: Collective, links: Links) -> float:
    """Seconds of a collective among `group` neighbouring chips.

    Beyond the domain of the links, every chip of a domain exchanges its share of the array, summed
    within the domain, with the chips in its place in the other domains.

    Raises:
      UserError: more chips than the links join, and no network known.
    """
    group = collective.group
    passes, inside = PASSES[collective.kind], min(group, links.domain)
    outside = math.ceil(group / inside)
    if outside > 1 and not links.network:
        raise UserError(
            f"--chips: found {group}; links join at most {links.domain} chips of this kind, and "
            "the network beyond is not modelled."
        )
    bandwidth, hops = links.bandwidth, inside - 1
    if links.axes:
        torus = sides(inside, links.axes)
        rings = [side >= links.wraps for side in torus]
        hops = sum(s // 2 if ring else s - 1 for s, ring in zip(torus, rings, strict=True))
        # Where an axis is a line, a ring through the slice uses two links of a chip, both ways; a
        # torus uses all.
        bandwidth *= 1.0 if all(rings) else 1 / links.axes
    seconds = passes * (inside - 1) / inside * collective.size / bandwidth
    latency = links.start_s + passes * hops * links.hop_s
    if outside > 1:
        seconds += passes * (outside - 1) / outside * collective.size / inside / links.network
        latency += passes * math.log2(outside) * links.network_hop_s
    return collective.times * (seconds + latency)


def times(work: Work, bodies: float, data: int, fsdp: int, accelerator: Accelerator) -> Times:
    """Seconds of a step of `bodies` bodies in all, on `data` · `fsdp` chips."""
    here = bodies / (data * fsdp)
    return Times(
        here * work.flops / accelerator.flops,
        (work.fixed_bytes + here * work.body_bytes) / accelerator.bandwidth,
        math.fsum(exchange_s(c, accelerator.links) for c in exchanged(work, data, fsdp)),
    )
