"""Command: what things cost on the device at hand, or would on others.

    python -m amr_jax.benchmark WHAT [--json=FILE] …

WHAT is one of SUBCOMMANDS; `WHAT --help` lists its flags.
"""

import argparse
import sys
from collections.abc import Sequence

from amr_jax.benchmark import aot, input, methods, pod, prepare, scaling, step
from amr_jax.errors import UserError
from amr_jax.run.cli import command

# Modules with `add_flags(parser)` and `run(flags)`; their docstrings' first lines are the help.
SUBCOMMANDS = {
    "methods": methods,
    "step": step,
    "input": input,
    "prepare": prepare,
    "scaling": scaling,
    "aot": aot,
    "pod": pod,
}


class Parser(argparse.ArgumentParser):
    """A parser whose errors are the project's: one message, exit status 2."""

    def error(self, message: str) -> None:
        """Raises `UserError`; called by argparse."""
        raise UserError(f"{message} ({self.prog} --help).")


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Runs the sub-command that `argv` names; None: the arguments of the process."""
    about = "What things cost on the device at hand, or would on others."
    parser = Parser(prog="python -m amr_jax.benchmark", description=about, allow_abbrev=False)
    what = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    for name, module in SUBCOMMANDS.items():
        summary = module.__doc__.splitlines()[0]
        sub = what.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        module.add_flags(sub)
        sub.set_defaults(run=module.run)
    flags = parser.parse_args(argv)
    try:
        flags.run(flags)
    except KeyboardInterrupt:
        print("interrupted: no results were written.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
