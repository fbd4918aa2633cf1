"""Predicted cost of a training step on accelerators that are not there, from compiled programs.

    python -m amr_jax.benchmark aot [--targets=h200,v5e:2x2] [--methods=amr,mamp] [--json=FILE]

The training loop's own dispatch of one full-size step is compiled for each target by its own
compiler, with each attention kernel that the target has; no device is needed, and nothing is run.
The compiler says what it counts and how much memory the program takes; the rest is arithmetic with
published peaks (`accelerators`), and no measurement.

A TPU's compiler spends most of its time on what to keep in on-chip memory, and when to fetch it:
three minutes of a core for AMR at full size. `--effort=-1` takes one; all arrays then lie in main
memory, and bytes and temporaries are upper limits, several times too high.
"""

import argparse
import concurrent.futures
import dataclasses
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import ml_collections

from amr_jax.benchmark import accelerators, collectives, hlo, methods, options, output
from amr_jax.config.files import override
from amr_jax.errors import UserError
from amr_jax.models.attention import KERNELS
from amr_jax.run import console, sharding
from amr_jax.studies import costs

# Real bodies of the training split of NTU-60 x-sub (40,091 sequences), and the epochs of the paper.
BODIES_AN_EPOCH = 47_000
EPOCHS = 400
TOP = 12  # parts of the model in the table of bytes


@dataclasses.dataclass(frozen=True)
class Request:
    """A program to compile: a method with an attention kernel, `bodies` a step, for a target.

    Attributes:
      fsdp: `config.fsdp`. overrides: of the config, as `encoder.depth=4`.
      effort: of a TPU's compiler, -1 (least) to 1; 0 is what a run gets.
    """

    target: accelerators.Target
    row: methods.Row
    attention: str
    bodies: int
    dtype: str
    fsdp: int = 1
    overrides: tuple[str, ...] = ()
    effort: float = 0.0


@dataclasses.dataclass(frozen=True)
class Roofline:
    """The least time that a program can take, if it runs at published peaks.

    Attributes:
      compute_s: of its FLOPs. memory_s: of its bytes.
      step_s: the larger of the two.
      hours: of the training: `EPOCHS` epochs of `BODIES_AN_EPOCH` bodies.
    """

    compute_s: float
    memory_s: float
    step_s: float
    hours: float


def roofline(
    flops: float, bytes_accessed: float, rate: float, bandwidth: float, bodies: int
) -> Roofline:
    """The arithmetic of a prediction.

    Args:
      flops, bytes_accessed: of one chip in a step.
      rate, bandwidth: of the chip, FLOP/s and bytes/s.
      bodies: of the step, on all chips together.
    """
    compute_s, memory_s = flops / rate, bytes_accessed / bandwidth
    step_s = max(compute_s, memory_s)
    steps = EPOCHS * BODIES_AN_EPOCH / bodies
    return Roofline(compute_s, memory_s, step_s, steps * step_s / 3600)


def compile_step(request: Request) -> dict[str, Any]:
    """What the compiler makes of a program, an entry for the JSON; figures are of one chip.

    `bytes` are counted by `hlo`, alike for all targets. `compiler_bytes` are the compiler's own
    figure, where it has one; on a TPU it counts on-chip memory, too.

    Runs in a process of its own: compilers of several targets do not get on in one, and some end
    the process where others raise.
    """
    # A new process, which knows nothing of what `run` has set.
    jax.config.update("jax_platforms", "cpu")
    target = request.target
    mesh = sharding.make_mesh(accelerators.devices(target), request.fsdp)
    sharding.check_batch(mesh, request.bodies, "batch_size")
    config = config_of(request)
    dispatch, state, batch = costs.abstract_training_step(config, mesh)
    start = time.perf_counter()
    compiled = dispatch.lower(state, {}, batch).compile(target.options(request.effort))
    compile_s = time.perf_counter() - start
    memory, counted = compiled.memory_analysis(), compiled.cost_analysis()
    text = compiled.as_text()
    launches, exchanged = hlo.launches(text), collectives.of_program(text)
    kinds = hlo.kinds(launches)
    return {
        "chips": mesh.size,
        "compile_s": compile_s,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        "flops": costs.step_flops(config) / mesh.size,
        "bytes": sum(launch.times * launch.traffic for launch in launches),
        "compiler_bytes": counted and counted["bytes accessed"],
        "memory": {
            "arguments": memory.argument_size_in_bytes,
            "outputs": memory.output_size_in_bytes,
            "aliased": memory.alias_size_in_bytes,
            "temporaries": memory.temp_size_in_bytes,
            "peak": costs.peak_bytes(memory),
        },
        "sent": collectives.sent(exchanged),
        "collectives": collectives.by_kind(exchanged),
        "launches": sum(kinds.values()),
        "launches_by_kind": kinds,
        "bytes_by_part": {
            name: {"launches": count, "bytes": size}
            for name, (count, size) in hlo.by_part(launches).items()
        },
    }


def config_of(request: Request) -> ml_collections.ConfigDict:
    """The resolved config of a request.

    Raises:
      UserError: an override that does not fit.
    """
    config = methods.config_of(request.row, 1, request.dtype, request.attention)
    config.batch_size = request.bodies  # packed
    config.fsdp = request.fsdp
    override(config, request.overrides)
    return config


def compiled_apart(request: Request) -> dict[str, Any]:
    """`compile_step` in a process of its own; what went wrong there as `problem`.

    Raises:
      UserError: the request cannot be met.
    """
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        try:
            return {"problem": None, **pool.submit(compile_step, request).result()}
        except jax.errors.JaxRuntimeError as error:
            return {"problem": str(error).strip().splitlines()[0]}
        except concurrent.futures.process.BrokenProcessPool:
            return {"problem": "the compiler ended its process"}


def requests_of(
    targets: Sequence[accelerators.Target],
    rows: Sequence[methods.Row],
    attention: str,
    bodies: int,
    dtype: str,
    **settings: Any,
) -> list[Request]:
    """Every target with every method and the kernel `attention`; `all`: each that it has.

    Args:
      settings: the others of `Request`.

    Raises:
      UserError: a kernel that a target does not have, in this dtype.
    """
    found = []
    for target in targets:
        kernels = target.kernels if dtype == "bfloat16" else ("xla",)
        if attention not in ("all", *kernels):
            raise UserError(
                f"--attention={attention}: {target} in {dtype} has {' and '.join(kernels)} alone."
            )
        chosen = kernels if attention == "all" else (attention,)
        found += [
            Request(target, row, k, bodies, dtype, **settings) for row in rows for k in chosen
        ]
    return found


def predicted(entry: Mapping[str, Any]) -> dict[str, float] | None:
    """The `Roofline` of an entry as a dict; None where there is no program."""
    if entry["problem"]:
        return None
    accelerator = accelerators.parse(entry["target"]).accelerator
    rate, bandwidth = accelerator.flops[entry["dtype"]], accelerator.bandwidth
    return dataclasses.asdict(
        roofline(entry["flops"], entry["bytes"], rate, bandwidth, entry["bodies"])
    )


def as_table(found: Sequence[Mapping[str, Any]]) -> str:
    """The entries for the terminal; all of one chip but the hours."""
    header = ("method", "attention", "target", "chips", "TFLOPs", "GB moved", "compiler's GB")
    header += (
        "memory GB",
        "temporaries GB",
        "sent MB",
        "launches",
        "compute ms",
        "bandwidth ms",
        "hours at least",
    )
    lines = []
    for entry in found:
        lead = (entry["name"], entry["attention"], entry["target"])
        if entry["problem"]:
            lines.append((*lead, *[""] * (len(header) - 3)))
            continue
        memory, roof = entry["memory"], entry["prediction"]
        lines.append(
            (
                *lead,
                str(entry["chips"]),
                f"{entry['flops'] / 1e12:.2f}",
                f"{entry['bytes'] / 1e9:.1f}",
                f"{entry['compiler_bytes'] / 1e9:.1f}" if entry["compiler_bytes"] else "",
                f"{memory['peak'] / 1e9:.2f}",
                f"{memory['temporaries'] / 1e9:.2f}",
                f"{entry['sent'] / 1e6:.1f}" if entry["sent"] else "",
                f"{entry['launches']:,}",
                f"{roof['compute_s'] * 1e3:.2f}",
                f"{roof['memory_s'] * 1e3:.2f}",
                f"{roof['hours']:.2f}",
            )
        )
    return output.table(header, lines)


def parts_table(entry: Mapping[str, Any]) -> str:
    """Where most bytes of one entry go."""
    lines = []
    for name, part in list(entry["bytes_by_part"].items())[:TOP]:
        share = part["bytes"] / entry["bytes"]
        lines.append((name, f"{part['launches']:,}", f"{part['bytes'] / 1e9:.2f}", f"{share:.1%}"))
    return output.table(("part", "launches", "GB", "share"), lines)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the sub-command."""
    parser.add_argument(
        "--targets",
        default="h200,v5e:2x2",
        help=f"some of {', '.join(accelerators.ACCELERATORS)}, with chips where wanted: v5e:4x4 "
        "(default h200,v5e:2x2)",
    )
    parser.add_argument(
        "--methods",
        default="amr,mamp",
        help=f"some of: {', '.join(row.name for row in methods.all_rows())}; or all "
        "(default amr,mamp)",
    )
    parser.add_argument(
        "--attention",
        choices=("all", *KERNELS),
        default="all",
        help="kernel; all (default): each that the target has",
    )
    parser.add_argument(
        "--bodies", type=output.positive, default=256, help="a step, on all chips (default 256)"
    )
    parser.add_argument(
        "--dtype", choices=("bfloat16", "float32"), default="bfloat16", help="compute dtype"
    )
    parser.add_argument(
        "--fsdp", type=output.positive, default=1, help="config.fsdp, chips that share the state"
    )
    parser.add_argument(
        "--effort",
        type=float,
        default=0.0,
        help="of a TPU's compiler, -1 to 1 (default 0, as in a run; -1 is three times as fast)",
    )
    options.add_override(parser)
    parser.add_argument("--parts", action="store_true", help="say where the bytes go")
    options.add_json(parser)


def run(flags: argparse.Namespace) -> None:
    """Compiles, prints the tables, writes the JSON."""
    # Nothing here needs a device: an accelerator that is there stays untouched.
    jax.config.update("jax_platforms", "cpu")
    rows = methods.select(flags.methods)
    targets = [accelerators.parse(text.strip()) for text in flags.targets.split(",")]
    for target in targets:
        accelerators.require_compiler(target)
    settings = {
        "fsdp": flags.fsdp,
        "overrides": tuple(flags.override),
        "effort": flags.effort,
    }
    requests = requests_of(targets, rows, flags.attention, flags.bodies, flags.dtype, **settings)
    console.say(
        f"{flags.dtype}, {flags.bodies} bodies a step; compiled here, run nowhere: what follows is "
        "predicted, not measured"
    )
    found = []
    for request in requests:
        lead = {
            "target": str(request.target),
            "name": request.row.name,
            "method": request.row.method,
            "model": dict(request.row.model),
            "attention": request.attention,
            "bodies": request.bodies,
            "dtype": request.dtype,
            **settings,
        }
        entry = lead | compiled_apart(request)
        found.append(entry | {"prediction": predicted(entry)})
        took = entry["problem"] or f"{entry['compile_s']:.0f} s"
        console.say(f"compiled {entry['name']}, {entry['attention']}, {entry['target']}: {took}")
    if all(entry["problem"] for entry in found):
        raise UserError("nothing could be compiled; the lines above say why.")
    console.say(as_table(found))
    console.say(
        f"predicted: {EPOCHS} epochs of {BODIES_AN_EPOCH:,} packed bodies (NTU-60 x-sub), if every "
        "step took no longer than its FLOPs or its bytes do at published peaks"
    )
    for entry in found if flags.parts else []:
        if not entry["problem"]:
            console.say(f"\nbytes of {entry['name']}, {entry['attention']}, {entry['target']}:")
            console.say(parts_table(entry))
    if flags.json:
        peaks = {t.kind: dataclasses.asdict(t.accelerator) for t in targets}
        training = {"epochs": EPOCHS, "bodies_an_epoch": BODIES_AN_EPOCH}
        source = output.provenance("aot")
        content = {**source, "measured": False, "training": training, "peaks": peaks, "rows": found}
        output.write_json(flags.json, content)
        console.say(f"written: {flags.json}")
