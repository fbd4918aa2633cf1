"""Time and memory of a training step of every method, and MAMP's in the same run.

    python -m amr_jax.benchmark methods [--sequences=8] [--rounds=10] [--json=FILE]

The model is the full-size one (T 120, V 25, width 256, 8 blocks). The step is the training loop's
own dispatch on random clips: augmentation, loss, gradient, AdamW.
"""

import argparse
from typing import Any

from amr_jax import methods as registry
from amr_jax.benchmark import full_size, interface, timing
from amr_jax.run import cli
from amr_jax.studies import costs

BODIES = 2  # per sequence
BASE = "mamp"

COLUMNS = {
    "method": interface.number("name"),
    "attention": interface.number("attention"),
    **timing.TIME,
    "to MAMP's": interface.number("ratio", ".3f"),
    **timing.MEMORY,
    "memory to MAMP's": interface.number("memory_ratio", ".3f"),
    "linear GFLOPs": interface.number("linear_gflops", ".1f"),
    "compiler's GFLOPs": interface.number("compiler_gflops", ".1f"),
    "compile s": interface.number("compile_s", ".0f"),
}


def add_flags(parser: cli.Parser) -> None:
    """The flags of the sub-command."""
    timing.add_flags(parser)
    names = ", ".join(row.name for row in full_size.all_rows())
    parser.add("methods", str, "all", f"some of: {names}; {BASE} is always measured")


def variants_of(
    rows: list[full_size.Row], sequences: int, dtype: str, overrides: list[str]
) -> list[timing.Variant]:
    """Every row with every attention kernel of this device, compared with MAMP and that kernel."""

    def variant(row, kernel, base=None):
        config = full_size.config_of(row, BODIES * sequences, dtype, kernel, overrides)
        return timing.Variant(row.name, config, sequences, base=base)

    (of_base,) = (row for row in rows if row.name == BASE)
    dtype = variant(of_base, "xla").config.dtype  # no longer 'auto'
    bases = {kernel: variant(of_base, kernel) for kernel in full_size.kernels(dtype)}
    return [
        base if row is of_base else variant(row, kernel, base)
        for row in rows
        for kernel, base in bases.items()
    ]


def gflops(variant: timing.Variant) -> dict[str, float]:
    """GFLOPs of a forward pass of one sequence: of the linear layers, and by the compiler."""
    # The kernel does not change the work, and no compiler counts the inside of cuDNN's.
    method = registry.build({**variant.config, "attention_kernel": "xla"})
    linear, compiler = costs.linear_flops(method, BODIES), costs.forward_flops(method, BODIES)
    return {"linear_gflops": linear / 1e9, "compiler_gflops": compiler / 1e9}


def run(flags: argparse.Namespace) -> dict[str, Any]:
    """Measures and prints the table; returns the content of the JSON file."""
    rows = full_size.select(full_size.all_rows(), flags.methods, "--methods", BASE)
    variants = variants_of(rows, timing.sequences(flags), flags.dtype, flags.override)
    timing.measure(variants, 1, flags.rounds)
    counted = {variant.name: gflops(variant) for variant in variants}
    found = [variant.entry() | counted[variant.name] for variant in variants]
    interface.print_table(found, COLUMNS)
    return {"encoder": variants[0].config.encoder.to_dict(), "rows": found}
