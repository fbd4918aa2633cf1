"""AMR's training step at full size, relative to the device's limits, and its variants.

    python -m amr_jax.benchmark step [--torch] [--sequences=8] [--json=FILE]

Every variant differs from the first row, the default, in one thing: steps per dispatch, body slots,
attention kernel, or method (MAMP). With --torch, AMR and MAMP also run in PyTorch, at the same
sizes, batch and dtype, and a second table compares the two programs. All are timed in the same
rounds. A time is that of `--steps` steps, divided by their number.
"""

import argparse
import functools
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from amr_jax import methods as registry
from amr_jax.benchmark import against_torch, full_size, interface, timing
from amr_jax.benchmark.full_size import BODIES_PER_SEQUENCE, EPOCHS, SEQUENCES
from amr_jax.benchmark.timing import Ready, Variant
from amr_jax.models.settings import compute_dtype
from amr_jax.run import cli, console
from amr_jax.studies import costs

BASE = "default"
# The backward pass has two products for each one of the forward pass (PaLM's "model FLOPs", without
# recomputation and attention).
FORWARD_AND_BACKWARD = 3
# Rows of the square matrices whose product gives the rate that MFU is relative to.
MATMUL_SIZES = {"cpu": (512, 1024, 2048), "accelerator": (4096, 8192, 16384)}

COLUMNS = {
    "step": interface.number("name"),
    "bodies": interface.number("bodies"),
    **timing.TIME,
    "to default": interface.number("ratio", ".3f"),
    "sequences/s": interface.number("sequences_per_s", ",.1f"),
    "MFU": interface.number("mfu", ".1%"),
    f"{EPOCHS} epochs": lambda e: console.duration(e["epochs_s"]) if "epochs_s" in e else "",
    **timing.MEMORY,
    "compile s": interface.number("compile_s", ".0f"),
}


def a_dispatch_each(config: ml_collections.ConfigDict, steps: int) -> Ready:
    """One dispatch per step, without waiting in between."""
    return timing.compiled(config, steps, dispatches=steps)


def augmentation_alone(config: ml_collections.ConfigDict, steps: int) -> Ready:
    """The steps' augmentation alone.

    Its time is an upper limit: within a step it is fused with other work, here its result goes
    through memory. (The difference of two whole steps would be smaller than their noise.)
    """
    return timing.compiled(config, steps, make=costs.augmentation)


def all_variants(
    sequences: int,
    dtype: str,
    overrides: Sequence[str] = (),
    kernels: Sequence[str] = ("xla",),
    with_torch: bool = False,
) -> list[Variant]:
    """All rows, the default first, each for about `sequences` sequences per step.

    Args:
      dtype: compute dtype.
      overrides: of every config, `encoder.depth=4`.
      kernels: attention kernels; the default uses the first one.
      with_torch: with AMR and MAMP in PyTorch.
    """
    first, *others = kernels

    def of(method: str, kernel: str = first, bodies: str = "packed") -> dict[str, Any]:
        """The config, and its sequences per step."""
        packed = bodies == "packed"
        size = round(BODIES_PER_SEQUENCE * sequences) if packed else sequences
        row = full_size.Row(method, method, (f"input.bodies={bodies}",))
        config = full_size.config_of(row, size, dtype, kernel, overrides)
        batch = config.batch_size
        return {"config": config, "sequences": batch / BODIES_PER_SEQUENCE if packed else batch}

    base = Variant(BASE, **of("amr"))
    variant = functools.partial(Variant, base=base)
    rows = [
        base,
        variant("one step a dispatch", **of("amr"), build=a_dispatch_each),
        variant("all body slots", **of("amr", bodies="all")),
        *(variant(f"amr w/ {kernel}", **of("amr", kernel)) for kernel in others),
        variant("augmentation", **of("amr"), build=augmentation_alone),
        variant("mamp", **of("mamp")),
        *(variant(f"mamp w/ {kernel}", **of("mamp", kernel)) for kernel in others),
    ]
    if with_torch:
        for method in ("amr", "mamp"):
            rows += [
                variant(name, **of(method, "xla"), build=build, framework="torch")
                for name, build in against_torch.builds(method).items()
            ]
    return rows


def matmul_rate(dtype: str, sizes: Sequence[int], repeats: int = 5) -> float:
    """FLOP/s of the default device: the best of several products of square matrices.

    In the precision of the steps: with float32, full float32.
    """
    multiply, found = jax.jit(functools.partial(jnp.matmul, precision="highest")), []
    for size in sizes:
        keys = jax.random.split(jax.random.key(0))
        a, b = (jax.random.normal(key, (size, size), compute_dtype(dtype)) for key in keys)
        jax.block_until_ready(multiply(a, b))  # compiles
        for _ in range(repeats):
            start = time.perf_counter()
            jax.block_until_ready(multiply(a, b))
            found.append(2 * size**3 / (time.perf_counter() - start))
    return max(found)


def rates(variant: Variant, rate: float) -> dict[str, float]:
    """Sequences per second, the time of the paper's training, and the MFU at `rate` FLOP/s."""
    step_s = timing.statistics(variant.step_s)["step_s_median"]
    if step_s is None or variant.build is augmentation_alone:
        return {}
    found = {"sequences_per_s": variant.sequences / step_s}
    found["epochs_s"] = EPOCHS * SEQUENCES / found["sequences_per_s"]
    if variant.framework == "jax":
        linear = costs.linear_flops(registry.build(variant.config), variant.bodies)
        found["mfu"] = FORWARD_AND_BACKWARD * linear / step_s / rate
    return found


NOTES = f"""\
to default: time per sequence, median over rounds; for the augmentation, an upper limit of its share
MFU: the share of the rate of large matrix products that linear layers use, forward and backward
{EPOCHS} epochs: EXTRAPOLATED from the median step to NTU-60 x-sub, {SEQUENCES:,} sequences, about \
{SEQUENCES * BODIES_PER_SEQUENCE:,.0f} bodies"""


def add_flags(parser: cli.Parser) -> None:
    """The flags of the sub-command."""
    timing.add_flags(parser)
    parser.add("steps", cli.at_least(1), None, "timed at once (default 2 on a CPU, else 10)")
    parser.add_switch("torch", "also time AMR and MAMP in PyTorch")
    parser.add("variants", str, "all", f"some of the rows; {BASE} is always measured")


def run(flags: argparse.Namespace) -> dict[str, Any]:
    """Measures and prints the table; returns the content of the JSON file."""
    about = against_torch.about() if flags.torch else {}  # fails now, if at all
    sequences = timing.sequences(flags)
    on_cpu = jax.default_backend() == "cpu"
    steps = flags.steps or (2 if on_cpu else 10)
    config = all_variants(sequences, flags.dtype, flags.override)[0].config
    kernels = full_size.kernels(config.dtype)
    variants = all_variants(sequences, config.dtype, flags.override, kernels, flags.torch)
    variants = full_size.select(variants, flags.variants, "--variants", BASE)
    timing.measure(variants, steps, flags.rounds)
    rate = matmul_rate(config.dtype, MATMUL_SIZES["cpu" if on_cpu else "accelerator"])
    found = [variant.entry() | rates(variant, rate) for variant in variants]
    interface.print_table(found, COLUMNS)
    console.say(f"{NOTES}\nlarge matrix products: {rate / 1e9:,.0f} GFLOP/s in {config.dtype}")
    compared = against_torch.compared(variants) if flags.torch else []
    if compared:
        interface.print_table(compared, against_torch.COLUMNS)
        console.say(against_torch.notes(about))
    return {
        "steps": steps,
        "matmul_flops_per_s": rate,
        "encoder": config.encoder.to_dict(),
        "rows": found,
        **about,
        "compared": compared,
    }
