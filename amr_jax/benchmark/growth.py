"""How the time and the memory of AMR's training step, and of data, grow with their sizes.

    python -m amr_jax.benchmark growth [--of=bodies,frames] [--json=FILE]

One size is doubled at a time, all others stay those of `BASE`. An exponent of 1 means that twice
the size takes twice the time. Exponents above the largest one that the arithmetic explains are
marked: they would be surprises.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from amr_jax.benchmark import full_size, interface, timing
from amr_jax.data import split
from amr_jax.evaluation import neighbours
from amr_jax.evaluation.protocols import knn
from amr_jax.run import cli, console, sharding

BASE = {
    "encoder.num_frames": 96,
    "encoder.depth": 2,
    "model.decoder_depth": 2,
    "encoder.width": 128,
    "model.decoder_width": 128,
}
_BODIES = 8  # of the base
# Above the largest exponent that is expected, by how much noise alone goes.
_NOISE = 0.25
_FEATURES = 64


@dataclasses.dataclass(frozen=True)
class Growth:
    """One size that grows.

    Attributes:
      what: of what.
      sizes: the values, each twice the one before.
      most: the largest exponent of time that is expected; for memory, too.
      keys: settings that have the value; 'batch_size' too. () for data.
      make: for data, size → something to time.
    """

    what: str
    sizes: tuple[int, ...]
    most: float
    keys: tuple[str, ...] = ()
    make: Callable[[int], "Data"] | None = None


class Data:
    """Work on data of one size.

    Attributes:
      step_s: seconds, one entry per round.
      memory_bytes: of what it leaves on the device; None: nothing.
    """

    def __init__(self, name: str, run: Callable[[], Any]):
        self.name, self.step_s, self.memory_bytes, self._run = name, [], None, run
        self.time_step()  # compiles
        self.step_s.clear()

    def time_step(self) -> None:
        """Runs and times it."""
        start = time.perf_counter()
        left = jax.block_until_ready(self._run())
        self.step_s.append(time.perf_counter() - start)
        arrays = [x for x in jax.tree.leaves(left) if isinstance(x, jax.Array)]
        self.memory_bytes = sum(x.nbytes for x in arrays) or None


def placing(num_sequences: int) -> Data:
    """Copies a data set of sequences of 100 frames to the device, as resident int16."""
    frames = 100
    walk = np.random.default_rng(0).normal(size=(frames * num_sequences, 25, 3)) * 0.01
    number = np.arange(num_sequences, dtype=np.int32)
    data = split.Split(
        frames=walk.astype(np.float32),
        own=number,
        length=np.full(num_sequences, frames, np.int32),
        present=np.ones((num_sequences, 1), bool),
        label=number % 60,
        names=number.astype(str),
        class_names=tuple(map(str, range(60))),
    )
    mesh = sharding.make_mesh(jax.devices()[:1])
    return Data("placing", lambda: split.place(data, mesh, "int16"))


def comparing(num_sequences: int) -> Data:
    """1-NN of as many test as training sequences."""
    mesh = sharding.make_mesh(jax.devices()[:1])
    rng = np.random.default_rng(0)

    def some():
        x = rng.normal(size=(num_sequences, _FEATURES)).astype(np.float32)
        labels = rng.integers(0, 60, num_sequences)
        return sharding.put((x, labels.astype(np.int32)), sharding.replicated(mesh))

    pairs = some(), some()
    return Data("1-NN", lambda: neighbours.compared(knn.nearest, *pairs, 1, mesh=mesh))


GROWTHS = {
    # Attention is quadratic in T, everything else linear; memory likewise.
    "bodies": Growth("step: bodies", (8, 16, 32), 1, ("batch_size",)),
    "frames": Growth("step: T", (48, 96, 192), 2, ("encoder.num_frames",)),
    "depth": Growth("step: blocks", (2, 4, 8), 1, ("encoder.depth", "model.decoder_depth")),
    "width": Growth("step: width", (64, 128, 256), 2, ("encoder.width", "model.decoder_width")),
    "data": Growth("data set: copy to the device", (500, 1000, 2000), 1, make=placing),
    "1-nn": Growth("1-NN: sequences of both splits", (1000, 2000, 4000), 2, make=comparing),
}

COLUMNS = {
    "of": interface.number("what"),
    "sizes": lambda e: " – ".join(f"{size:,}" for size in e["sizes"]),
    "ms": lambda e: " – ".join(f"{1e3 * s:,.1f}" for s in e["step_s"]),
    "exponents": lambda e: _listed(e["exponents"]),
    "MB": lambda e: " – ".join(f"{b / 1e6:,.1f}" for b in e["memory_bytes"] if b),
    "of memory": lambda e: _listed(e["memory_exponents"]),
    "at most": interface.number("most"),
    "": lambda e: "surprise" if e["surprise"] else "",
}


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(f"{x:.2f}" for x in numbers)


def exponents(values: Sequence[float], sizes: Sequence[int]) -> list[float]:
    """log(ratio of neighbouring values) / log(ratio of their sizes); [] without values."""
    if None in values:
        return []
    return [float(x) for x in np.diff(np.log(values)) / np.diff(np.log(sizes))]


def entry(growth: Growth, things: Sequence[Any]) -> dict[str, Any]:
    """What was measured of the sizes of one growth, for tables and JSON.

    A growth is a surprise where time or memory over the whole range grows faster than `most`.
    """
    times = [timing.statistics(thing.step_s)["step_s_median"] for thing in things]
    memory = [thing.memory_bytes for thing in things]
    ends = [growth.sizes[0], growth.sizes[-1]]
    whole = [x for values in (times, memory) for x in exponents([values[0], values[-1]], ends)]
    return {
        "what": growth.what,
        "sizes": growth.sizes,
        "step_s": times,
        "exponents": exponents(times, growth.sizes),
        "memory_bytes": memory,
        "memory_exponents": exponents(memory, growth.sizes),
        "most": growth.most,
        "surprise": any(x > growth.most + _NOISE for x in whole),
    }


def of_step(growth: Growth, dtype: str, overrides: Sequence[str]) -> list[timing.Variant]:
    """Training steps of the sizes of one growth."""
    found = []
    for size in growth.sizes:
        values = {**BASE, "batch_size": _BODIES}
        given = [f"{key}={value}" for key, value in values.items()]
        given += [*overrides, *(f"{key}={size}" for key in growth.keys)]
        row = full_size.Row("amr", "amr")
        config = full_size.config_of(row, _BODIES, dtype, "xla", given)
        found.append(timing.Variant(f"{growth.what} {size}", config, config.batch_size))
    return found


def add_flags(parser: cli.Parser) -> None:
    """The flags of the sub-command."""
    parser.add("of", str, "all", f"some of: {', '.join(GROWTHS)}")
    parser.add("rounds", cli.at_least(1), 5, "times that each is timed")
    parser.add("dtype", str, "auto", "compute dtype", choices=("auto", "float32", "bfloat16"))
    interface.add_override(parser)


def run(flags: argparse.Namespace) -> dict[str, Any]:
    """Measures and prints the table; returns the content of the JSON file."""
    named = [argparse.Namespace(name=name) for name in GROWTHS]
    chosen = [GROWTHS[x.name] for x in full_size.select(named, flags.of, "--of")]
    rows = []
    for growth in chosen:
        if growth.make:
            things: list[Any] = [growth.make(size) for size in growth.sizes]
            timing.rounds(things, flags.rounds)
        else:
            things = of_step(growth, flags.dtype, flags.override)
            timing.measure(things, 1, flags.rounds)
        rows.append(entry(growth, things))
    interface.print_table(rows, COLUMNS)
    console.say(
        "exponents: 1 where twice the size takes twice as much; surprise: over the whole range, "
        f"more than {_NOISE} above what the arithmetic explains"
    )
    return {"base": {**BASE, "batch_size": _BODIES}, "rows": rows}
