"""Modelled time of a training step on 1 to 256 chips.

    python -m amr_jax.benchmark scaling [--targets=h200,v5e,v5p] [--json=FILE]

docs/scaling.md describes the model (`cost_model`) and its results. FLOPs are counted here. Bytes of
main memory grow linearly with the bodies on a chip; the line is `COUNTED` for AMR as it is by
default, else --bytes, from two programs of `benchmark aot`.
"""

import argparse
import dataclasses
from typing import Any

import jax

from amr_jax.benchmark import accelerators, cost_model, full_size, interface
from amr_jax.errors import UserError
from amr_jax.run import cli, console

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

COLUMNS = {
    "chips": interface.number("chips"),
    "bodies a chip": interface.number("bodies_a_chip", "g"),
    "compute ms": interface.number("compute_s", ".3f", 1e-3),
    "bandwidth ms": interface.number("memory_s", ".3f", 1e-3),
    "exchange ms": interface.number("exchange_s", ".3f", 1e-3),
    "step ms": interface.number("step_s", ".2f", 1e-3),
    "efficiency": interface.number("efficiency", ".0%"),
    "all hidden": interface.number("hidden_efficiency", ".0%"),
    "weak": interface.number("weak_efficiency", ".0%"),
    "fsdp: exchange ms": interface.number("fsdp_exchange_s", ".3f", 1e-3),
    "fsdp: step ms": interface.number("fsdp_step_s", ".2f", 1e-3),
    "fsdp: efficiency": interface.number("fsdp_efficiency", ".0%"),
}


def scaled(work: cost_model.Work, kind: str, bodies: int) -> list[dict[str, Any]]:
    """One entry per number of chips: data-parallel, and with `fsdp` over all chips.

    Efficiencies are relative to one chip. Strong scaling has `bodies` in all, weak scaling `bodies`
    on each chip.
    """
    chip = accelerators.ACCELERATORS[kind]
    alone_s = cost_model.times(work, bodies, 1, 1, chip).step_s
    found = []
    for n in CHIPS:
        strong = cost_model.times(work, bodies, n, 1, chip)
        weak = cost_model.times(work, bodies * n, n, 1, chip)
        fsdp = cost_model.times(work, bodies, 1, n, chip)
        found.append(
            {
                "target": kind,
                "chips": n,
                "bodies_a_chip": bodies / n,
                **dataclasses.asdict(strong),
                "step_s": strong.step_s,
                "efficiency": alone_s / (n * strong.step_s),
                "hidden_efficiency": alone_s / (n * strong.hidden_s),
                "weak_efficiency": alone_s / weak.step_s,
                "fsdp_exchange_s": fsdp.exchange_s,
                "fsdp_step_s": fsdp.step_s,
                "fsdp_efficiency": alone_s / (n * fsdp.step_s),
            }
        )
    return found


def line(text: str) -> tuple[float, float]:
    """The type of --bytes."""
    try:
        fixed, body = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"found {text!r}; expected two numbers, FIXED,PER_BODY"
        ) from None
    return fixed, body


def add_flags(parser: cli.Parser) -> None:
    """The flags of the sub-command."""
    kinds = ", ".join(accelerators.ACCELERATORS)
    parser.add("targets", str, "h200,v5e,v5p", f"some of {kinds}")
    parser.add("method", str, "amr", "one of `benchmark methods`")
    parser.add("bodies", cli.at_least(1), 256, "per step: in all, and on each chip for `weak`")
    parser.add("bytes", line, None, "main memory moved in a step", metavar="FIXED,PER_BODY")
    interface.add_override(parser)


def run(flags: argparse.Namespace) -> dict[str, Any]:
    """Computes and prints the tables; returns the content of the JSON file."""
    # No device is needed: an accelerator that is there stays untouched.
    jax.config.update("jax_platforms", "cpu")
    (row,) = full_size.select(full_size.all_rows(), flags.method, "--method")
    kinds = [accelerators.parse(text)[0] for text in flags.targets.split(",")]
    config = full_size.config_of(row, flags.bodies, "bfloat16", "xla", flags.override)
    counted = COUNTED if (row.name, flags.override) == ("amr", []) else {}
    found = []
    console.say(f"{row.name}, bfloat16, {flags.bodies} bodies per step; modelled, not measured")
    for kind in kinds:
        chip, memory = accelerators.ACCELERATORS[kind], flags.bytes or counted.get(kind)
        if memory is None:
            raise UserError(
                f"--targets={kind}: the bytes that {row.name} moves on this chip are not known. "
                "Compile it with `benchmark aot` for two numbers of bodies per chip, and give the "
                "line through `GB moved`: --bytes=FIXED,PER_BODY."
            )
        work = cost_model.work_of(config, memory, chip.platform)
        entries = scaled(work, kind, flags.bodies)
        found += entries
        console.say(
            f"\n{chip.title}: {work.parameters / 4e6:.1f} M parameters; {work.flops / 1e9:.2f} "
            f"GFLOPs per body; {work.fixed_bytes / 1e9:.2f} GB moved per step, and "
            f"{work.body_bytes / 1e6:.1f} MB per body on a chip"
        )
        interface.print_table(entries, COLUMNS)
    return {"measured": False, "rows": found}
