"""Time of a training step on 1 to 256 chips, on paper.

    python -m amr_jax.benchmark scaling [--targets=h200,v5e,v5p] [--json=FILE]

docs/scaling.md describes the model (`cost_model`) and its results. FLOPs are counted here. Bytes of
main memory grow linearly with the bodies on a chip; the line is `COUNTED` for AMR as it is by
default, else --bytes, from two programs of `benchmark aot`.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from typing import Any

import jax

from amr_jax.benchmark import accelerators, cost_model, full_size, options, output
from amr_jax.benchmark.cost_model import Work, work_of
from amr_jax.errors import UserError
from amr_jax.run import console

CHIPS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

# Bytes of main memory in a step of AMR with its default config in bfloat16: for any batch, and per
# body on a chip. From programs of `benchmark aot`, 24 November 2026, jax 0.10.2: with CUDA
# 13 (cuDNN's attention, 1 and 256 bodies) and libtpu 0.0.42.1 (v5e: 1 and 64 bodies; v5p: the same
# with the least effort, so that nothing stays on the chip).
COUNTED = {
    "h200": (0.536e9, 81.5e6),
    "v5e": (0.251e9, 25.2e6),
    "v5p": (0.398e9, 119.3e6),
}


def _of(layout: str, key: str, form: str, unit: float = 1.0) -> output.Text:
    return lambda entry: format(entry[layout][key] / unit, form)


COLUMNS = {
    "chips": output.number("chips"),
    "bodies a chip": output.number("bodies_a_chip", "g"),
    "compute ms": _of("data", "compute_s", ".3f", 1e-3),
    "bandwidth ms": _of("data", "memory_s", ".3f", 1e-3),
    "exchange ms": _of("data", "exchange_s", ".3f", 1e-3),
    "step ms": _of("data", "step_s", ".2f", 1e-3),
    "efficiency": _of("data", "efficiency", ".0%"),
    "all hidden": _of("data", "efficiency_hidden", ".0%"),
    "weak": _of("data", "weak_efficiency", ".0%"),
    "fsdp: exchange ms": _of("fsdp", "exchange_s", ".3f", 1e-3),
    "fsdp: step ms": _of("fsdp", "step_s", ".2f", 1e-3),
    "fsdp: efficiency": _of("fsdp", "efficiency", ".0%"),
    "fsdp: weak": _of("fsdp", "weak_efficiency", ".0%"),
}


def scaled(
    work: Work, kind: str, chips: Sequence[int], bodies: int, dtype: str
) -> list[dict[str, Any]]:
    """One entry per number of chips: `data`-parallel, and `fsdp` over all chips.

    Strong scaling has `bodies` in all, weak scaling (`weak_…`) `bodies` on each chip.
    """
    chip = accelerators.ACCELERATORS[kind]

    def step(n, fsdp, all_bodies):
        return cost_model.times(work, all_bodies, n // fsdp, fsdp, chip, dtype)

    alone = step(1, 1, bodies).step_s
    found = []
    for n in chips:
        entry = {"target": kind, "chips": n, "bodies_a_chip": bodies / n}
        for name, fsdp in (("data", 1), ("fsdp", n)):
            strong, weak = step(n, fsdp, bodies), step(n, fsdp, bodies * n)
            entry[name] = {
                **dataclasses.asdict(strong),
                "step_s": strong.step_s,
                "efficiency": alone / (n * strong.step_s),
                "efficiency_hidden": alone / (n * strong.hidden_s),
                "weak_step_s": weak.step_s,
                "weak_efficiency": alone / weak.step_s,
            }
        found.append(entry)
    return found


def _bytes(text: str) -> tuple[float, float]:
    try:
        fixed, body = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"found {text!r}; expected two numbers, FIXED,PER_BODY"
        ) from None
    return fixed, body


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the sub-command."""
    kinds = ", ".join(accelerators.ACCELERATORS)
    parser.add_argument(
        "--targets", default="h200,v5e,v5p", help=f"some of {kinds} (default h200,v5e,v5p)"
    )
    parser.add_argument(
        "--chips", type=options.positives, default=CHIPS, help="numbers of chips (default 1 to 256)"
    )
    parser.add_argument("--method", default="amr", help="one of `benchmark methods` (default amr)")
    parser.add_argument(
        "--bodies",
        type=options.positive,
        default=256,
        help="per step: in all (strong scaling), or on each chip (weak scaling; default 256)",
    )
    options.add_dtype(parser, "bfloat16", "float32")
    parser.add_argument(
        "--bytes", type=_bytes, metavar="FIXED,PER_BODY", help="bytes of main memory in a step"
    )
    options.add_override(parser)
    options.add_json(parser)


def run(flags: argparse.Namespace) -> None:
    """Computes, prints the tables, writes the JSON file."""
    # No device is needed: an accelerator that is there stays untouched.
    jax.config.update("jax_platforms", "cpu")
    (row,) = full_size.select(flags.method)
    targets = [accelerators.parse(text.strip()) for text in flags.targets.split(",")]
    config = full_size.config_of(row, flags.bodies, flags.dtype, "xla", flags.override)
    is_default = (row.name, flags.dtype, flags.override) == ("amr", "bfloat16", [])
    works, found = {}, []
    console.say(
        f"{row.name}, {flags.dtype}, {flags.bodies} bodies per step; modelled, not measured"
    )
    for target in targets:
        memory = flags.bytes or (COUNTED.get(target.kind) if is_default else None)
        if memory is None:
            raise UserError(
                f"--targets={target.kind}: the bytes that {row.name} moves on this chip are not "
                "known. Compile it with `benchmark aot` for two numbers of bodies per chip, and "
                "give the line through `GB moved`: --bytes=FIXED,PER_BODY."
            )
        work = works[target.kind] = work_of(config, memory, target.accelerator.platform)
        entries = scaled(work, target.kind, flags.chips, flags.bodies, flags.dtype)
        found += entries
        console.say(
            f"\n{target.accelerator.title}: {work.parameters / 4e6:.1f} M parameters; "
            f"{work.flops / 1e9:.2f} GFLOPs per body; {work.fixed_bytes / 1e9:.2f} GB moved per "
            f"step, and {work.body_bytes / 1e6:.1f} MB per body on a chip"
        )
        console.say(output.table(entries, COLUMNS))
    content = {
        **output.provenance("scaling"),
        "measured": False,
        "peaks": {t.kind: dataclasses.asdict(t.accelerator) for t in targets},
        "work": {kind: dataclasses.asdict(work) for kind, work in works.items()},
        "points": found,
    }
    output.write_json(flags.json, content)
