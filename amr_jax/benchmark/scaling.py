"""How cost grows: AMR's training step with each of its sizes, evaluation with the test set.

    python -m amr_jax.benchmark scaling [--frames=48,96,192] [--axes=frames,r] [--json=FILE]

One size grows while the others stay at the first value of their lists. Between neighbours the
exponent of the growth is set against what the model explains; what exceeds it is flagged.
"""

import argparse
import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ml_collections

from amr_jax import methods as registry
from amr_jax import pretrain
from amr_jax.benchmark import evaluation, growth, options, output, rounds
from amr_jax.benchmark.growth import Axis, Point
from amr_jax.benchmark.methods import DATASET, kernels
from amr_jax.benchmark.program import Program
from amr_jax.config import base as base_config
from amr_jax.config.settings import require_choice
from amr_jax.models.attention import KERNELS
from amr_jax.run import console
from amr_jax.studies import costs

STEP_AXES = (
    Axis("bodies", 1, "every body is computed for itself"),
    Axis("frames", 2, "attention compares queries with visible patches, and both grow with T"),
    Axis("width", 2, "products are width × width, decoder's and encoder's alike"),
    Axis("depth", 1, "one block after the other, encoder's and decoder's alike"),
    Axis("r", 1, "N / r queries, each of which attends to the visible patches alone"),
)
TEST_AXES = (
    Axis("features", 1, "every body is encoded for itself, in batches of one size"),
    Axis("neighbours", 1, "every query is compared with a bank of one size"),
)

# The base first; r is the other way round, for fewer queries come of a larger one.
ON_CPU = {
    "bodies": (8, 16, 32),
    "frames": (48, 96, 192),
    "width": (64, 128, 256),
    "depth": (2, 4, 8),
    "r": (6, 3, 2, 1),
    "test": (256, 512, 1024, 2048),
}
ON_ACCELERATORS = {
    "bodies": (64, 128, 256),
    "frames": (120, 240, 480),
    "width": (128, 256, 512),
    "depth": (4, 8, 16),
    "r": (6, 3, 2, 1),
    "test": (1024, 2048, 4096, 8192),
}


def config_of(
    sizes: Mapping[str, int], dtype: str, attention: str = "xla"
) -> ml_collections.ConfigDict:
    """AMR's resolved config with `sizes` (bodies, frames, width, depth, r), all else as it is."""
    config = base_config.pretraining("amr", DATASET)
    config.batch_size, config.model.r = sizes["bodies"], sizes["r"]
    config.encoder.num_frames = sizes["frames"]
    config.encoder.width = config.model.decoder_width = sizes["width"]
    config.encoder.depth = config.model.decoder_depth = sizes["depth"]
    config.dtype, config.attention_kernel = dtype, attention
    return pretrain.resolve(config)


@dataclasses.dataclass
class Timed:
    """One size of one axis, and what is timed there: a `Program` or an `evaluation.Call`."""

    axis: Axis
    value: int
    size: float
    program: Any
    flops: float | None = None

    def point(self) -> Point:
        """What was measured."""
        program = self.program
        return Point(
            self.value,
            self.size,
            program.step_s,
            program.memory_bytes,
            self.flops,
            program.problem,
        )


def steps_timed(
    axes: Sequence[Axis],
    lists: Mapping[str, Sequence[int]],
    steps: int,
    make_config: Callable[[Mapping[str, int]], ml_collections.ConfigDict],
) -> list[Timed]:
    """Compiles a training step for every value of the `axes`; the base that they share, once."""
    base = {axis.name: lists[axis.name][0] for axis in STEP_AXES}
    made, timed = {}, []
    for axis in axes:
        for value in lists[axis.name]:
            sizes = {**base, axis.name: value}
            config = make_config(sizes)
            method = registry.build(config)
            key = tuple(sizes.values())
            if key not in made:
                made[key] = Program(config, steps), costs.linear_flops(method, sizes["bodies"])
                program = made[key][0]
                took = program.problem or f"compiled in {program.compile_s:.0f} s"
                console.say(f"{axis.name} {value}: {took}")
            size = method.num_predicted if axis.name == "r" else value
            timed.append(Timed(axis, value, size, *made[key]))
    return timed


def tests_timed(
    axes: Sequence[Axis], counts: Sequence[int], config: ml_collections.ConfigDict
) -> list[Timed]:
    """The parts of an evaluation, for every number of test bodies."""
    timed = []
    for axis in axes:
        if axis.name == "features":
            call = evaluation.extraction(config)
        else:
            call = evaluation.neighbours(config.encoder.width, counts[-1])
        timed += [Timed(axis, count, count, call(count)) for count in counts]
    return timed


def summary(timed: Sequence[Timed]) -> list[dict[str, Any]]:
    """An entry for every point; exponents are from the one before it on its axis."""
    found, before = [], None
    for t in timed:
        point = t.point()
        grown = growth.Growth(None, None, None, None)
        if before and before[0] is t.axis:
            grown = growth.between(before[1], point)
        low, middle, high = rounds.quartiles(point.times) if point.times else (None,) * 3
        found.append(
            {
                "axis": t.axis.name,
                "value": point.value,
                "size": point.size,
                "problem": point.problem,
                "s_median": middle,
                "s_quartiles": [low, high],
                "memory_bytes": point.memory_bytes,
                "forward_linear_flops": point.flops,
                "exponents": dataclasses.asdict(grown),
                "allowed": t.axis.allowed,
                "surprises": grown.surprises(t.axis),
                "s": list(point.times),
            }
        )
        before = t.axis, point
    return found


def as_table(found: Sequence[Mapping[str, Any]]) -> str:
    """The entries of `summary` for the terminal."""

    def text(value, form, unit=1.0):
        return "" if value is None else format(value / unit, form)

    header = ("axis", "value", "ms", "quartiles", "memory MB", "linear GFLOPs")
    header += ("time ^", "memory ^", "GFLOPs ^", "allowed", "faster than explained")
    lines = []
    for row in found:
        low, high = row["s_quartiles"]
        exponents = row["exponents"]
        lines.append(
            (
                row["axis"],
                f"{row['value']:,}",
                row["problem"] or text(row["s_median"], ",.2f", 1e-3),
                "" if low is None else f"{low / 1e-3:,.2f}–{high / 1e-3:,.2f}",
                text(row["memory_bytes"], ",.0f", 1e6),
                text(row["forward_linear_flops"], ",.3f", 1e9),
                *(text(exponents[name], ".2f") for name in ("time", "memory", "flops")),
                f"{row['allowed']:g}",
                ", ".join(row["surprises"]),
            )
        )
    return output.table(header, lines)


def notes(axes: Sequence[Axis], found: Sequence[Mapping[str, Any]]) -> str:
    """Why each axis may grow as it may, and what grew faster."""
    lines = [f"{axis.name}: up to {axis.allowed:g}, as {axis.why}." for axis in axes]
    faster = [f"{row['axis']} {row['value']:,}" for row in found if row["surprises"]]
    verdict = f"faster than explained at: {', '.join(faster)}" if faster else "nothing is faster"
    lines.append(
        f"Flagged above that plus {growth.MARGIN} (noise, caches), in the fastest rounds, too: "
        f"{verdict}."
    )
    return "\n".join(lines)


def rising(text: str) -> tuple[int, ...]:
    """The type of a list of sizes: two or more whole numbers, each above the one before."""
    return _sizes(text, 1)


def falling(text: str) -> tuple[int, ...]:
    """The type of a list of r: each below the one before."""
    return _sizes(text, -1)


def _sizes(text: str, direction: int) -> tuple[int, ...]:
    values = tuple(output.positive(part) for part in text.split(","))
    if len(values) < 2 or any(direction * (b - a) <= 0 for a, b in itertools.pairwise(values)):
        order = "larger" if direction > 0 else "smaller"
        raise argparse.ArgumentTypeError(
            f"found {text!r}; expected at least two numbers, each {order} than the one before"
        )
    return values


def select(names: str) -> list[Axis]:
    """The axes that --axes asks for; `all`: all of them."""
    axes = [*STEP_AXES, *TEST_AXES]
    if names == "all":
        return axes
    wanted = [name.strip() for name in names.split(",")]
    for name in wanted:
        require_choice("--axes", name, tuple(axis.name for axis in axes))
    return [axis for axis in axes if axis.name in wanted]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the sub-command."""
    for name, what in {
        "bodies": "a step",
        "frames": "of a clip, T",
        "width": "of encoder and decoder",
        "depth": "blocks of the encoder, and of the decoder",
        "r": "falling: the smaller, the more patches are predicted",
        "test": "bodies of the test set",
    }.items():
        defaults = " and ".join(
            ",".join(map(str, sizes[name])) for sizes in (ON_CPU, ON_ACCELERATORS)
        )
        parser.add_argument(
            f"--{name}",
            type=falling if name == "r" else rising,
            help=f"{what}; the first is the base ({defaults}, on CPU and elsewhere)",
        )
    names = ", ".join(axis.name for axis in (*STEP_AXES, *TEST_AXES))
    parser.add_argument("--axes", default="all", help=f"some of: {names}")
    parser.add_argument(
        "--steps", type=output.positive, default=4, help="of a dispatch, timed at once (default 4)"
    )
    parser.add_argument("--rounds", type=output.positive, default=7, help="of each (default 7)")
    options.add_dtype(parser)
    parser.add_argument("--attention", choices=KERNELS, default="xla", help="kernel (default xla)")
    options.add_json(parser)


def run(flags: argparse.Namespace) -> None:
    """Measures, prints the table, writes the JSON."""
    axes = select(flags.axes)
    defaults = ON_CPU if options.on_cpu() else ON_ACCELERATORS
    lists = {name: getattr(flags, name) or sizes for name, sizes in defaults.items()}

    def make_config(sizes):
        return config_of(sizes, flags.dtype, flags.attention)

    base = make_config({axis.name: lists[axis.name][0] for axis in STEP_AXES})
    kernels(flags.attention, base.dtype)
    source = output.provenance("scaling")
    console.say(
        f"{source['device']['kind']}, {base.dtype}, AMR; base: {base.batch_size} bodies, T "
        f"{base.encoder.num_frames}, width {base.encoder.width}, {base.encoder.depth} + "
        f"{base.model.decoder_depth} blocks, r {base.model.r}"
    )
    timed = steps_timed(
        [axis for axis in axes if axis in STEP_AXES], lists, flags.steps, make_config
    )
    timed += tests_timed([axis for axis in axes if axis in TEST_AXES], lists["test"], base)
    # What several axes share is timed once a round.
    rounds.time_all(list(dict.fromkeys(t.program for t in timed)), flags.rounds)
    found = summary(timed)
    console.say(as_table(found))
    console.say(notes(axes, found))
    if flags.json:
        settings = {"base": base.to_dict(), "rounds": flags.rounds, "steps": flags.steps}
        output.write_json(flags.json, {**source, "settings": settings, "points": found})
        console.say(f"written: {flags.json}")
