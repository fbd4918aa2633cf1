"""Cost of training, input and preparation: measured on this device, or predicted for another.

    python -m amr_jax.benchmark WHAT [--json=FILE] …

WHAT is one of SUBCOMMANDS; `WHAT --help` lists its flags.
"""

import argparse
import sys
from collections.abc import Sequence

from amr_jax.benchmark import aot, input, methods, prepare, scaling, step
from amr_jax.errors import UserError
from amr_jax.run.cli import command

# Modules with `add_flags(parser)` and `run(flags)`; the first line of a docstring is the help text.
SUBCOMMANDS = {
    "methods": methods,
    "step": step,
    "input": input,
    "prepare": prepare,
    "aot": aot,
    "scaling": scaling,
}


class Parser(argparse.ArgumentParser):
    """A parser that reports errors as the other commands do: one message, exit status 2."""

    def error(self, message: str) -> None:
        """Raises `UserError`; argparse calls it."""
        raise UserError(f"{message} ({self.prog} --help).")


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Runs a sub-command.

    Args:
      argv: arguments; None: those of the process.
    """
    about = __doc__.splitlines()[0]
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
