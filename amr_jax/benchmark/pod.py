"""How a training step scales from one chip to a pod, on paper, and how far programs bear it out.

    python -m amr_jax.benchmark pod [--targets=h200,v5e,v5p] [--aot=FILE,…] [--json=FILE]

The model is `cost_model`, with published rates (`accelerators`). FLOPs are counted here. Bytes of
main memory are those of programs that `benchmark aot` has compiled for the chip, at two or more
numbers of bodies a chip: with --aot, those in its files; without, for the default model, what was
counted once (`COUNTED`). What the model says of each program in --aot, beside what is in it, is the
second table.
"""

import argparse
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import ml_collections

from amr_jax.benchmark import accelerators, aot, collectives, cost_model, methods, options, output
from amr_jax.benchmark.cost_model import Work
from amr_jax.errors import UserError
from amr_jax.run import console, sharding
from amr_jax.studies import costs

CHIPS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

# Bytes of main memory in a step of AMR as it is by default, in bfloat16: whatever the batch, and
# for each body on a chip. From programs of `benchmark aot`, 24 November 2026, jax 0.10.2: with CUDA
# 13 (cuDNN's attention, 1 and 256 bodies) and libtpu 0.0.42.1 (v5e: 1 and 64 bodies; v5p: the same
# with the least effort, so that nothing stays on the chip).
COUNTED = {
    "h200": (0.536e9, 81.5e6),
    "v5e": (0.251e9, 25.2e6),
    "v5p": (0.398e9, 119.3e6),
}
# XLA for GPUs collects all split parameters in so many operations (at full size; 24 November 2026);
# for TPUs, each array in one of its own.
_GATHERS_ON_GPU = 3


def work_of(
    config: ml_collections.ConfigDict, memory: tuple[float, float], platform: str = "tpu"
) -> Work:
    """What a step of a config asks for.

    Args:
      config: resolved.
      memory: bytes of main memory: whatever the batch, and for each body.
      platform: of JAX, whose compiler it is.
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
        gradients=0.5 if config.dtype == "bfloat16" else 1.0,
    )


def read(path: Path, request: aot.Request) -> list[dict[str, Any]]:
    """The programs in a file of `benchmark aot` that are of the same step as `request`.

    Raises:
      UserError: no such file, or another one.
    """
    try:
        rows = json.loads(path.read_text())["rows"]
        wanted = (request.row.name, request.dtype, list(request.overrides))
        return [
            row
            for row in rows
            if not row["problem"] and (row["name"], row["dtype"], row["overrides"]) == wanted
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"--aot={path}: expected a file that `benchmark aot --json` has written ({error!r})."
        ) from error


def memory_of(
    target: accelerators.Target, request: aot.Request, programs: Sequence[Mapping[str, Any]]
) -> tuple[float, float]:
    """Bytes as in `work_of`, of the data-parallel programs for a kind of chip, or of `COUNTED`.

    Raises:
      UserError: neither is there.
    """
    rows = [
        row
        for row in programs
        if row["target"].partition(":")[0] == target.kind and row["fsdp"] == 1
    ]
    # Compiled with the effort that is nearest to a run's.
    effort = max((row["effort"] for row in rows), default=0.0)
    points = {r["bodies"] / r["chips"]: r["bytes"] for r in rows if r["effort"] == effort}
    if len(points) > 1:
        return cost_model.through(list(points.items()))
    default = (request.row.name, request.dtype, request.overrides) == ("amr", "bfloat16", ())
    if target.kind in COUNTED and default:
        return COUNTED[target.kind]
    raise UserError(
        f"--targets={target.kind}: how many bytes {request.row.name} moves in {request.dtype} on "
        f"this chip is not known. Compile it for two numbers of bodies a chip, `python -m "
        f"amr_jax.benchmark aot --targets={target} --methods={request.row.name} --json=FILE` with "
        "--bodies=256 and --bodies=32, and name both files: --aot=FILE,FILE."
    )


def scaled(
    work: Work, kind: str, chips: Sequence[int], bodies: int, dtype: str
) -> list[dict[str, Any]]:
    """An entry for each number of chips: data-parallel and fsdp over all chips.

    `strong`: `bodies` in all; `weak`: `bodies` on each chip.
    """
    accelerator = accelerators.ACCELERATORS[kind]

    def step(n, fsdp, all_bodies):
        return cost_model.times(work, all_bodies, n // fsdp, fsdp, accelerator, dtype)

    alone = step(1, 1, bodies)
    found = []
    for n in chips:
        entry = {"target": kind, "chips": n, "bodies_a_chip": bodies / n}
        for name, fsdp in (("data", 1), ("fsdp", n)):
            strong, weak = step(n, fsdp, bodies), step(n, fsdp, bodies * n)
            entry[name] = {
                **dataclasses.asdict(strong),
                "step_s": strong.step_s,
                "efficiency": cost_model.efficiency(alone.step_s, n, strong.step_s),
                "efficiency_hidden": cost_model.efficiency(alone.step_s, n, strong.hidden_s),
                "weak_step_s": weak.step_s,
                "weak_efficiency": alone.step_s / weak.step_s,
            }
        found.append(entry)
    return found


def as_table(found: Sequence[Mapping[str, Any]]) -> str:
    """The entries of `scaled` of one kind of chip, for the terminal."""
    header = ("chips", "bodies a chip", "compute ms", "bandwidth ms", "exchange ms", "step ms")
    header += ("efficiency", "all hidden", "weak", "fsdp: exchange ms", "step ms", "efficiency")
    header += ("weak",)
    lines = []
    for entry in found:
        data, fsdp = entry["data"], entry["fsdp"]
        lines.append(
            (
                str(entry["chips"]),
                f"{entry['bodies_a_chip']:g}",
                *(f"{data[name] * 1e3:.3f}" for name in ("compute_s", "memory_s", "exchange_s")),
                f"{data['step_s'] * 1e3:.2f}",
                *(f"{data[k]:.0%}" for k in ("efficiency", "efficiency_hidden", "weak_efficiency")),
                f"{fsdp['exchange_s'] * 1e3:.3f}",
                f"{fsdp['step_s'] * 1e3:.2f}",
                f"{fsdp['efficiency']:.0%}",
                f"{fsdp['weak_efficiency']:.0%}",
            )
        )
    return output.table(header, lines)


def verdict(found: Sequence[Mapping[str, Any]]) -> str:
    """Where scaling stops paying, in a line for each way to lay out the parameters."""
    lines = []
    for name, title in (("data", "data-parallel"), ("fsdp", "fsdp")):
        steps = {entry["chips"]: entry[name]["step_s"] for entry in found}
        if 1 not in steps:
            continue
        last, fastest = cost_model.last_that_pays(steps), min(steps, key=steps.get)
        gain = steps[1] / steps[fastest]
        lines.append(
            f"{title}: half of every chip's speed or more up to {last} chips; the shortest step, "
            f"{steps[fastest] * 1e3:.2f} ms, on {fastest}: {gain:.1f} times as fast as on one."
        )
    return "\n".join(lines)


def checked(work: Work, row: Mapping[str, Any]) -> dict[str, Any]:
    """What the model says of a program of `benchmark aot`, beside what was counted in it."""
    chips, fsdp = row["chips"], row["fsdp"]
    says = cost_model.exchanged(work, chips // fsdp, fsdp)
    return {
        "target": row["target"],
        "chips": chips,
        "fsdp": fsdp,
        "effort": row["effort"],
        "bytes": work.fixed_bytes + row["bodies"] / chips * work.body_bytes,
        "bytes_counted": row["bytes"],
        "sent": collectives.sent(says),
        "sent_counted": row["sent"],
        "collectives": sum(c.times for c in says),
        "collectives_counted": {k: v["times"] for k, v in row["collectives"].items()},
        "memory_counted": row["memory"]["peak"],
    }


def check_table(found: Sequence[Mapping[str, Any]]) -> str:
    """The entries of `checked` for the terminal."""
    header = ("target", "chips", "fsdp", "effort", "GB moved", "counted", "off by")
    header += ("MB sent", "counted", "off by", "collectives", "counted", "memory GB")

    def off(says, counted):
        return f"{says / counted - 1:+.1%}" if counted else ""

    lines = []
    for row in found:
        counted = ", ".join(f"{n} {kind}" for kind, n in row["collectives_counted"].items())
        lines.append(
            (
                row["target"],
                str(row["chips"]),
                str(row["fsdp"]),
                f"{row['effort']:g}",
                f"{row['bytes'] / 1e9:.2f}",
                f"{row['bytes_counted'] / 1e9:.2f}",
                off(row["bytes"], row["bytes_counted"]),
                f"{row['sent'] / 1e6:.2f}",
                f"{row['sent_counted'] / 1e6:.2f}",
                off(row["sent"], row["sent_counted"]),
                str(row["collectives"]),
                counted or "0",
                f"{row['memory_counted'] / 1e9:.2f}",
            )
        )
    return output.table(header, lines)


def numbers(text: str) -> tuple[int, ...]:
    """The type of --chips."""
    return tuple(sorted({output.positive(part) for part in text.split(",")}))


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the sub-command."""
    kinds = ", ".join(accelerators.ACCELERATORS)
    parser.add_argument(
        "--targets", default="h200,v5e,v5p", help=f"some of {kinds} (default h200,v5e,v5p)"
    )
    parser.add_argument(
        "--chips",
        type=numbers,
        default=CHIPS,
        help="numbers of them (default 1,2,4 … 256)",
    )
    parser.add_argument("--method", default="amr", help="one of `benchmark methods` (default amr)")
    parser.add_argument(
        "--bodies",
        type=output.positive,
        default=256,
        help="a step, in all (strong scaling) or on each chip (weak; default 256)",
    )
    parser.add_argument(
        "--dtype", choices=("bfloat16", "float32"), default="bfloat16", help="compute dtype"
    )
    parser.add_argument("--aot", default="", help="files of `benchmark aot --json`, with commas")
    options.add_override(parser)
    options.add_json(parser)


def run(flags: argparse.Namespace) -> None:
    """Counts, prints the tables, writes the JSON."""
    # Nothing here needs a device: an accelerator that is there stays untouched.
    jax.config.update("jax_platforms", "cpu")
    (row,) = methods.select(flags.method)
    targets = [accelerators.parse(text.strip()) for text in flags.targets.split(",")]
    request = aot.Request(
        targets[0], row, "xla", flags.bodies, flags.dtype, overrides=tuple(flags.override)
    )
    config = aot.config_of(request)
    programs = [p for name in flags.aot.split(",") if name for p in read(Path(name), request)]
    works, found = {}, []
    console.say(f"{row.name}, {flags.dtype}, {flags.bodies} bodies a step; modelled, not measured")
    for target in targets:
        memory = memory_of(target, request, programs)
        work = work_of(config, memory, target.accelerator.platform)
        works[target.kind] = work
        entries = scaled(work, target.kind, flags.chips, flags.bodies, flags.dtype)
        found += entries
        console.say(
            f"\n{target.accelerator.title}: {work.parameters / 4e6:.1f} M parameters; a body takes "
            f"{work.flops / 1e9:.2f} GFLOPs; {work.fixed_bytes / 1e9:.2f} GB are moved, and "
            f"{work.body_bytes / 1e6:.1f} MB for each body on a chip"
        )
        console.say(as_table(entries))
        console.say(verdict(entries))
    checks = []
    for program in programs:
        kind = program["target"].partition(":")[0]
        if kind in works:
            checks.append(checked(works[kind], program))
    if checks:
        console.say("\nthe model, and programs compiled for these chips:")
        console.say(check_table(checks))
    if flags.json:
        content = {
            **output.provenance("pod"),
            "measured": False,
            "peaks": {t.kind: dataclasses.asdict(t.accelerator) for t in targets},
            "work": {kind: dataclasses.asdict(work) for kind, work in works.items()},
            "points": found,
            "checks": checks,
        }
        output.write_json(flags.json, content)
        console.say(f"written: {flags.json}")
