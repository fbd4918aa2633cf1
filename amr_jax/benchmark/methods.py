"""Training-step time and memory of every method, without data, beside MAMP's in the same run.

    python -m amr_jax.benchmark methods [--sequences=8] [--rounds=10] [--json=FILE]

The model is the full-size one (T 120, V 25, width 256, 8 blocks), the step the training loop's own
dispatch: augmentation, loss, gradient, AdamW. Everything is compiled first, then timed in rounds.
"""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import ml_collections

from amr_jax import methods as registry
from amr_jax import pretrain
from amr_jax.benchmark import options, output, rounds
from amr_jax.benchmark.program import Program
from amr_jax.config import base as base_config
from amr_jax.data import datasets
from amr_jax.errors import UserError
from amr_jax.models.attention import KERNELS
from amr_jax.run import console
from amr_jax.studies import costs

DATASET = "ntu60_xsub"
BODIES = 2  # of a sequence
BASE = "mamp"

# The paper's order; a method that is not among them comes last.
_ORDER = ("skeleton_mae", "mamp", "sjepa", "gfp", "nat", "amr")
# Settings that come from the data set, not from the method.
_FROM_DATA = {"sjepa": {"view_mirror": datasets.get(DATASET).layout.mirrored}}


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table: `model` is what differs from the defaults of `method`."""

    name: str
    method: str
    model: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def all_rows() -> list[Row]:
    """Every method as its config has it, and NAT with its contrastive term."""
    first = [name for name in _ORDER if name in registry.METHODS]
    rows = []
    for name in dict.fromkeys([*first, *registry.METHODS]):
        rows.append(Row(name, name, _FROM_DATA.get(name, {})))
        if name == "nat":
            rows.append(Row("nat w/ contrast", "nat", {"contrast": 0.1}))
    return rows


def select(names: str, *always: str) -> list[Row]:
    """The rows that --methods asks for, and those named `always`; `all`: all of them."""
    rows = all_rows()
    if names == "all":
        return rows
    wanted = [name.strip() for name in names.split(",")]
    known = [row.name for row in rows]
    for name in wanted:
        if name not in known:
            raise UserError(f"--methods: unknown {name!r}; expected some of: {', '.join(known)}.")
    return [row for row in rows if row.name in (*wanted, *always)]


def config_of(row: Row, sequences: int, dtype: str, attention: str) -> ml_collections.ConfigDict:
    """The resolved full-size config of a row; `sequences` of two bodies a step."""
    config = base_config.pretraining(row.method, DATASET)
    # Not the shared section of all methods, whose mask is SkeletonMAE's: each method's own defaults
    # (the tests compare them with configs/).
    config.model = ml_collections.ConfigDict(dict(row.model))
    config.batch_size = BODIES * sequences
    config.dtype = dtype
    config.attention_kernel = attention
    return pretrain.resolve(config)


def kernels(choice: str, dtype: str) -> list[str]:
    """The attention kernels to measure: `choice`, or `all` that this device has."""
    device = jax.devices()[0]
    has_cudnn = device.device_kind.startswith("NVIDIA") and dtype == "bfloat16"
    if choice == "cudnn" and not has_cudnn:
        raise UserError(
            f"--attention=cudnn on {device.device_kind} in {dtype}: it needs an NVIDIA GPU and "
            "bfloat16; use --attention=xla."
        )
    if choice != "all":
        return [choice]
    return [kernel for kernel in KERNELS if kernel != "cudnn" or has_cudnn]


@dataclasses.dataclass
class Measured:
    """One row with one attention kernel.

    Attributes:
      row, attention: which.
      program: its compiled step, and what was measured of it.
      linear_gflops, compiler_gflops: forward pass of a sequence, see `costs`.
    """

    row: Row
    attention: str
    program: Program
    linear_gflops: float
    compiler_gflops: float


def measure(
    rows: Sequence[Row], attentions: Sequence[str], sequences: int, dtype: str, num_rounds: int
) -> list[Measured]:
    """Compiles every row with every kernel, then times them in rounds."""
    measured = []
    for row in rows:
        # The work is the same whatever computes it; what cuDNN does, no compiler counts.
        method = registry.build(config_of(row, sequences, dtype, "xla"))
        linear = costs.linear_flops(method, BODIES) / 1e9
        compiler = costs.forward_flops(method, BODIES) / 1e9
        for attention in attentions:
            program = Program(config_of(row, sequences, dtype, attention))
            measured.append(Measured(row, attention, program, linear, compiler))
            took = program.problem or f"{program.compile_s:.0f} s"
            console.say(f"compiled {row.name}, {attention}: {took}")
    rounds.time_all([m.program for m in measured], num_rounds)
    return measured


def summary(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """All that was measured, an entry each; ratios are to MAMP with the same kernel."""
    bases = {m.attention: m.program for m in measured if m.row.name == BASE}
    found = []
    for m in measured:
        program, base = m.program, bases[m.attention]
        low, middle, high = rounds.quartiles(program.step_s) if program.step_s else (None,) * 3
        timed = program.step_s and base.step_s
        compiled = program.memory_bytes and base.memory_bytes
        found.append(
            {
                "name": m.row.name,
                "method": m.row.method,
                "model": dict(m.row.model),
                "attention": m.attention,
                "problem": program.problem,
                "step_s_median": middle,
                "step_s_quartiles": [low, high],
                "step_ratio": rounds.ratio(program.step_s, base.step_s) if timed else None,
                "memory_bytes": program.memory_bytes,
                "memory_ratio": program.memory_bytes / base.memory_bytes if compiled else None,
                "device_bytes": program.device_bytes,
                "linear_gflops": m.linear_gflops,
                "compiler_gflops": m.compiler_gflops,
                "compile_s": program.compile_s,
                "step_s": program.step_s,
            }
        )
    return found


def as_table(found: Sequence[Mapping[str, Any]]) -> str:
    """The entries of `summary` for the terminal."""

    def text(value, unit, form):
        return "" if value is None else format(value / unit, form)

    header = ("method", "attention", "step ms", "quartiles", "to MAMP's")
    header += ("memory GB", "to MAMP's", "device GB", "linear GFLOPs", "compiler's", "compile s")
    lines = []
    for row in found:
        low, high = (text(t, 1e-3, ",.1f") for t in row["step_s_quartiles"])
        lines.append(
            (
                row["name"],
                row["attention"],
                row["problem"] or text(row["step_s_median"], 1e-3, ",.1f"),
                f"{low}–{high}" if low else "",
                text(row["step_ratio"], 1, ".3f"),
                text(row["memory_bytes"], 1e9, ".2f"),
                text(row["memory_ratio"], 1, ".3f"),
                text(row["device_bytes"], 1e9, ".2f"),
                text(row["linear_gflops"], 1, ".1f"),
                text(row["compiler_gflops"], 1, ".1f"),
                text(row["compile_s"], 1, ".0f"),
            )
        )
    return output.table(header, lines)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the sub-command."""
    parser.add_argument(
        "--sequences",
        type=output.positive,
        help=f"of {BODIES} bodies, a step (default: 8 on CPU, 128 on accelerators)",
    )
    options.add_dtype(parser)
    parser.add_argument(
        "--rounds", type=output.positive, default=10, help="steps timed of each (default 10)"
    )
    options.add_attention(parser)
    parser.add_argument(
        "--methods",
        default="all",
        help=f"some of: {', '.join(row.name for row in all_rows())}; {BASE} is always measured",
    )
    options.add_json(parser)


def run(flags: argparse.Namespace) -> None:
    """Measures, prints the table, writes the JSON."""
    rows = select(flags.methods, BASE)
    sequences = flags.sequences or (8 if options.on_cpu() else 128)
    config = config_of(rows[0], sequences, flags.dtype, "xla")
    attentions = kernels(flags.attention, config.dtype)
    source = output.provenance("methods")
    encoder = config.encoder
    console.say(
        f"{source['device']['kind']}, {config.dtype}: {sequences} × {BODIES} bodies a step; "
        f"T {encoder.num_frames}, V {encoder.num_joints}, width {encoder.width}, "
        f"{encoder.depth} blocks"
    )
    found = summary(measure(rows, attentions, sequences, config.dtype, flags.rounds))
    console.say(as_table(found))
    if flags.json:
        settings = {
            "sequences": sequences,
            "bodies": config.batch_size,
            "dtype": config.dtype,
            "rounds": flags.rounds,
            "encoder": encoder.to_dict(),
        }
        output.write_json(flags.json, {**source, "settings": settings, "rows": found})
        console.say(f"written: {flags.json}")
