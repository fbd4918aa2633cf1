"""How long a training step takes on n chips, on paper.

A chip multiplies and moves bytes at the published rates, the slower of the two counts; then the
chips exchange what they must, each array round a ring, after a start and so many hops; nothing of
that is hidden behind the computation (what could at best be hidden, is told beside it).

Left out: kernels that do not reach the published rates, above all on few bodies; launches; the
host; input; waiting for the slowest chip; other traffic on the network; what becomes faster when
activations fit into on-chip memory.
"""

import dataclasses
import math
from collections.abc import Sequence

from amr_jax.benchmark.accelerators import Accelerator, Interconnect
from amr_jax.benchmark.collectives import PASSES, Collective
from amr_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Work:
    """What a training step asks for, on however many chips.

    Attributes:
      flops: of a body.
      fixed_bytes: of main memory, moved on every chip whatever its batch: parameters, gradients and
        the optimiser's moments. body_bytes: moved for each body on top.
      parameters: bytes of all of them, float32. split: of those that `fsdp` splits, which are
        collected in `gathers` operations.
      gradients: bytes of a gradient as it is summed, for each byte of its parameter: 1/2 where the
        compute dtype is bfloat16.
    """

    flops: float
    fixed_bytes: float
    body_bytes: float
    parameters: float
    split: float
    gathers: int
    gradients: float


@dataclasses.dataclass(frozen=True)
class Times:
    """Seconds of a step.

    Attributes:
      compute_s, memory_s: a chip's FLOPs and bytes. exchange_s: what the chips send each other.
    """

    compute_s: float
    memory_s: float
    exchange_s: float

    @property
    def alone_s(self) -> float:
        """Of what each chip does by itself."""
        return max(self.compute_s, self.memory_s)

    @property
    def step_s(self) -> float:
        """Nothing of the exchange being hidden."""
        return self.alone_s + self.exchange_s

    @property
    def hidden_s(self) -> float:
        """If all of the exchange were hidden behind what the chips do by themselves."""
        return max(self.alone_s, self.exchange_s)


def through(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """(y at x = 0, slope) of the line through the points with the least and the largest x.

    Raises:
      ValueError: all x are equal.
    """
    (x0, y0), (x1, y1) = min(points), max(points)
    if x0 == x1:
        raise ValueError(f"no line through points that all have x = {x0}")
    slope = (y1 - y0) / (x1 - x0)
    return y0 - slope * x0, slope


def exchanged(work: Work, data: int, fsdp: int, scatters: bool = True) -> list[Collective]:
    """What `data` · `fsdp` chips exchange in a step, as `train_step` and `sharding` lay it out.

    Split parameters are collected once, in float32, before they are used. Their
    gradients are summed over `fsdp`, every chip keeping its part, then over `data`; all others over
    all chips. (All that is large is taken to be split: that `fsdp` divides one of its axes.)

    Args:
      scatters: whether the compiler knows reduce-scatter. XLA's for CPUs does not: there every chip
        sums the whole array, and keeps its part.
    """
    split, summed = (work.split if fsdp > 1 else 0.0), work.gradients
    found = []
    if split:
        found += [
            Collective("all-gather", fsdp, split / work.gathers, work.gathers),
            Collective("reduce-scatter" if scatters else "all-reduce", fsdp, summed * split),
        ]
    if data > 1 and split:
        found.append(Collective("all-reduce", data, summed * split / fsdp))
    if data * fsdp > 1:
        found.append(Collective("all-reduce", data * fsdp, summed * (work.parameters - split)))
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


def exchange_s(collective: Collective, links: Interconnect) -> float:
    """Seconds of a collective among `group` neighbouring chips.

    Beyond the domain of the links, every chip of a domain exchanges its share of the array, summed
    within the domain, with those in its place in the others: bytes as in one large ring.

    Raises:
      UserError: more chips than the links can join, and no network known.
    """
    group = collective.group
    passes, inside = PASSES[collective.kind], min(group, links.domain)
    outside = math.ceil(group / inside)
    if outside > 1 and not links.network:
        raise UserError(
            f"--chips: found {group}; of this kind of chip, {links.domain} at most are joined by "
            "links, and what lies beyond is not modelled."
        )
    bandwidth, hops = links.bandwidth, inside - 1
    if links.axes:
        torus = sides(inside, links.axes)
        rings = [side >= links.wraps for side in torus]
        hops = sum(s // 2 if ring else s - 1 for s, ring in zip(torus, rings, strict=True))
        # A ring through a slice whose axes are lines uses two of a chip's links, both ways, where
        # a torus uses all.
        bandwidth *= 1.0 if all(rings) else 1 / links.axes
    seconds = passes * (inside - 1) / inside * collective.size / bandwidth
    latency = links.start_s + passes * hops * links.hop_s
    if outside > 1:
        seconds += passes * (outside - 1) / outside * collective.size / inside / links.network
        latency += passes * math.log2(outside) * links.network_hop_s
    return collective.times * (seconds + latency)


def times(
    work: Work, bodies: float, data: int, fsdp: int, accelerator: Accelerator, dtype: str
) -> Times:
    """Of a step of `bodies` bodies in all, on `data` · `fsdp` chips."""
    here = bodies / (data * fsdp)
    links = accelerator.interconnect
    return Times(
        here * work.flops / accelerator.flops[dtype],
        (work.fixed_bytes + here * work.body_bytes) / accelerator.bandwidth,
        math.fsum(exchange_s(c, links) for c in exchanged(work, data, fsdp)),
    )


def efficiency(alone: float, chips: int, step: float) -> float:
    """Share of n times one chip's speed that n chips reach, on the same bodies in all.

    Args:
      alone: seconds of a step on one chip. step: on `chips` chips.
    """
    return alone / (chips * step)


def last_that_pays(steps: dict[int, float], least: float = 0.5) -> int:
    """The most chips at which, as at all fewer ones, the efficiency is `least` or more.

    Args:
      steps: seconds of a step by number of chips, among them 1.
    """
    last = 1
    for chips in sorted(steps):
        if efficiency(steps[1], chips, steps[chips]) < least:
            break
        last = chips
    return last
