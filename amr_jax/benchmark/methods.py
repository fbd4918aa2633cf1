"""Time and memory of a training step of every method, beside MAMP's in the same run.

    python -m amr_jax.benchmark methods [--sequences=8] [--rounds=10] [--json=FILE]

The model is the full-size one (T 120, V 25, width 256, 8 blocks). The step is the training loop's
own dispatch on random clips: augmentation, loss, gradient, AdamW.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from typing import Any

from amr_jax import methods as registry
from amr_jax.benchmark import options, output, timing
from amr_jax.benchmark.full_size import Row, all_rows, config_of, kernels, select
from amr_jax.run import console
from amr_jax.studies import costs

BODIES = 2  # per sequence
BASE = "mamp"

COLUMNS = {
    "method": output.number("name"),
    "attention": output.number("attention"),
    "step ms": output.or_problem(output.number("step_s_median", ",.1f", 1e-3)),
    "quartiles": output.quartiles("step_s_quartiles", ",.1f", 1e-3),
    "to MAMP's": output.number("step_ratio", ".3f"),
    "memory GB": output.number("memory_bytes", ".2f", 1e9),
    "memory to MAMP's": output.number("memory_ratio", ".3f"),
    "device GB": output.number("device_bytes", ".2f", 1e9),
    "linear GFLOPs": output.number("linear_gflops", ".1f"),
    "compiler's GFLOPs": output.number("compiler_gflops", ".1f"),
    "compile s": output.number("compile_s", ".0f"),
}


@dataclasses.dataclass
class Measured:
    """One row with one attention kernel: its step, and GFLOPs of a forward pass of a sequence."""

    row: Row
    attention: str
    program: timing.Program
    linear_gflops: float
    compiler_gflops: float


def measure(
    rows: Sequence[Row], attentions: Sequence[str], sequences: int, dtype: str, num_rounds: int
) -> list[Measured]:
    """Compiles every row with every kernel, then times all steps in rounds."""
    measured, bodies = [], BODIES * sequences
    for row in rows:
        # The kernel does not change the work, and no compiler counts the inside of cuDNN's.
        method = registry.build(config_of(row, bodies, dtype, "xla"))
        linear = costs.linear_flops(method, BODIES) / 1e9
        compiler = costs.forward_flops(method, BODIES) / 1e9
        for attention in attentions:
            program = timing.Program(config_of(row, bodies, dtype, attention))
            measured.append(Measured(row, attention, program, linear, compiler))
            took = program.problem or f"{program.compile_s:.0f} s"
            console.say(f"compiled {row.name}, {attention}: {took}")
    timing.warm_up_and_time([m.program for m in measured], num_rounds)
    return measured


def summary(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """One entry per measurement; ratios are to MAMP with the same kernel."""
    bases = {m.attention: m.program for m in measured if m.row.name == BASE}
    found = []
    for m in measured:
        program, base = m.program, bases[m.attention]
        compiled = program.memory_bytes and base.memory_bytes
        found.append(
            {
                "name": m.row.name,
                "method": m.row.method,
                "model": dict(m.row.model),
                "attention": m.attention,
                "linear_gflops": m.linear_gflops,
                "compiler_gflops": m.compiler_gflops,
                **program.report(),
                "step_ratio": timing.ratio(program.step_s, base.step_s),
                "memory_ratio": program.memory_bytes / base.memory_bytes if compiled else None,
            }
        )
    return found


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the sub-command."""
    parser.add_argument(
        "--sequences",
        type=options.positive,
        help=f"sequences of {BODIES} bodies per step (default: 8 on CPU, 128 on accelerators)",
    )
    options.add_dtype(parser, "auto", "float32", "bfloat16")
    parser.add_argument(
        "--rounds", type=options.positive, default=10, help="steps timed of each (default 10)"
    )
    options.add_attention(parser)
    names = ", ".join(row.name for row in all_rows())
    parser.add_argument(
        "--methods", default="all", help=f"some of: {names}; {BASE} is always measured"
    )
    options.add_json(parser)


def run(flags: argparse.Namespace) -> None:
    """Measures, prints the table, writes the JSON file."""
    rows = select(flags.methods, BASE)
    sequences = flags.sequences or (8 if options.on_cpu() else 128)
    config = config_of(rows[0], BODIES * sequences, flags.dtype, "xla")
    attentions = kernels(flags.attention, config.dtype)
    source = output.provenance("methods")
    encoder = config.encoder
    console.say(
        f"{source['device']['kind']}, {config.dtype}: {sequences} × {BODIES} bodies per step; "
        f"T {encoder.num_frames}, V {encoder.num_joints}, width {encoder.width}, "
        f"{encoder.depth} blocks"
    )
    found = summary(measure(rows, attentions, sequences, config.dtype, flags.rounds))
    console.say(output.table(found, COLUMNS))
    settings = {
        "sequences": sequences,
        "bodies": config.batch_size,
        "dtype": config.dtype,
        "rounds": flags.rounds,
        "encoder": encoder.to_dict(),
    }
    output.write_json(flags.json, {**source, "settings": settings, "rows": found})
