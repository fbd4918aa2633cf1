"""Cost of training, input and preparation: measured on this device, or predicted for another.

    python -m amr_jax.benchmark WHAT [--json=FILE] …

WHAT is one of SUBCOMMANDS; `WHAT --help` lists its flags.
"""

import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

from amr_jax.benchmark import interface
from amr_jax.config import settings
from amr_jax.errors import UserError
from amr_jax.run import cli

# Modules with `add_flags(parser)` and `run(flags)`, which returns the content of the JSON file.
SUBCOMMANDS = {
    "methods": "Time and memory of a training step of every method, and MAMP's in the same run.",
    "step": "AMR's training step at full size, relative to the limits of the device.",
    "input": "Time to prepare the clips of a step: resident or streamed, in 16 or 32 bits.",
    "prepare": "Time and memory of `amr_jax.prepare`, for growing numbers of files and processes.",
    "aot": "Predicted cost of a training step on absent accelerators, from compiled programs.",
    "agreement": "Losses of training with each attention kernel, and with the plain formula.",
    "growth": "How time and memory grow with bodies, frames, depth, width and data.",
    "scaling": "Modelled time of a training step on 1 to 256 chips.",
}


@cli.command
def main(argv: Sequence[str] | None = None, prog: str = "python -m amr_jax.benchmark") -> None:
    """Runs a sub-command.

    Args:
      argv: arguments; None: those of the process.
      prog: how the command was called.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    if not argv:
        raise UserError(f"WHAT is missing: one of {', '.join(SUBCOMMANDS)} ({prog} --help).")
    name, *rest = argv
    if name in ("-h", "--help"):
        print(f"usage: {prog} WHAT [--flag=value …]; {prog} WHAT --help lists the flags\n")
        for name, summary in SUBCOMMANDS.items():
            print(f"  {name:10}{summary}")
        return
    module, parser = subcommand(name, prog)
    if any(x in ("-h", "--help") for x in rest):
        parser.print_help()
        return
    flags = parser.parse(rest)
    cli.quieten_libraries(flags.verbosity)
    content = module.run(flags)
    if flags.json:
        interface.write_json(flags.json, name, content)


def subcommand(name: str, prog: str) -> tuple[ModuleType, cli.Parser]:
    """The module of a sub-command, and the parser of its flags."""
    settings.require_choice("WHAT", name, SUBCOMMANDS)
    module = importlib.import_module(f"amr_jax.benchmark.{name}")
    parser = cli.Parser(f"{prog} {name}", SUBCOMMANDS[name])
    module.add_flags(parser)
    parser.add("json", interface.json_file, None, "file for all measurements")
    return module, parser


if __name__ == "__main__":
    from amr_jax.__main__ import script

    script("benchmark")
