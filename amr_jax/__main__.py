"""The command line of all commands: `amr-jax COMMAND …`, or `python -m amr_jax.COMMAND …`.

Flags stand in `amr_jax/flags.py`. A command's module has a function `main(flags)`, which is
imported when it runs; nothing here imports JAX.
"""

import importlib
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from amr_jax.errors import UserError, did_you_mean
from amr_jax.flags import COMMANDS
from amr_jax.run import allocator, cli

if TYPE_CHECKING:  # else late: not every command has a config
    from ml_collections import ConfigDict

    from amr_jax.config import settings

# A command with a config: the key that its configs have, what they describe, an example.
_KINDS = {
    "pretrain": ("method", "a pre-training method", "amr"),
    "evaluate": ("protocol", "an evaluation protocol", "linear"),
    "compare": ("rows", "a comparison of methods", "compare"),
    "sweep": ("method", "a pre-training method", "amr"),
}


@cli.command
def main(argv: Sequence[str] | None = None, prog: str = "amr-jax") -> None:
    """Runs the command that `argv` names; None: the arguments of the process."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if not argv:
        raise UserError(f"COMMAND is missing: one of {', '.join(COMMANDS)} ({prog} --help).")
    if argv[0] in ("-h", "--help"):
        print(f"usage: {prog} COMMAND [--flag=value …]; {prog} COMMAND --help lists the flags\n")
        for name, function in COMMANDS.items():
            print(f"  {name:12}{_summary(function)}")
        return
    if argv[0] not in COMMANDS:
        hint = did_you_mean(argv[0], COMMANDS) or f" Expected one of: {', '.join(COMMANDS)}."
        raise UserError(f"unknown command {argv[0]!r}.{hint}")
    run(argv[0], argv[1:], f"{prog} {argv[0]}")


@cli.command
def run(name: str, argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Parses the flags of one command and runs it.

    Args:
      name: one of `COMMANDS`.
      argv: its arguments; None: those of the process.
      prog: how the command was called, for help and tables.
    """
    allocator.keep_freed_memory()
    argv = sys.argv[1:] if argv is None else list(argv)
    prog = prog or f"python -m amr_jax.{name}"
    if name == "benchmark":
        importlib.import_module("amr_jax.benchmark.__main__").main(argv, prog)
        return
    parser = cli.Parser(prog, _summary(COMMANDS[name]))
    COMMANDS[name](parser)
    if name in _KINDS:
        _run_with_config(name, parser, argv)
        return
    if _asks_for_help(argv):
        parser.print_help()
        return
    flags = parser.parse(argv)
    cli.quieten_libraries(flags.verbosity)
    module = f"amr_jax.{name}" + (".__main__" if name == "synthetic" else "")
    importlib.import_module(module).main(flags)


def script(name: str) -> NoReturn:
    """Runs a command as `python -m amr_jax.NAME`, and ends the process."""
    run(name)
    sys.exit()


def _run_with_config(name: str, parser: cli.Parser, argv: list[str]) -> None:
    from amr_jax.config import files, settings

    cli.refuse_any_name(argv)
    argv, overrides = files.split_overrides(argv)
    if _asks_for_help(argv):
        given, _ = parser.parse_known_args([x for x in argv if x not in ("-h", "--help")])
        spec = given.config or _KINDS[name][2]
        parser.print_help()
        print(f"\nconfig keys, with their values in {spec}:")
        config = _config(name, spec, [])
        print(settings.described(_tree(config), config))
        return
    parser.keys = lambda: (
        f"config.{key}" for key in settings.flat(files.get_config(_KINDS[name][2]))
    )
    flags = parser.parse(argv)
    config = _config(name, flags.config, overrides)
    cli.quieten_libraries(flags.verbosity)
    flags.overrides = overrides
    flags.command = shlex.join(
        [*parser.prog.split(), *argv, *(f"--config.{override}" for override in overrides)]
    )
    module = importlib.import_module(f"amr_jax.{name}")
    cli.start(lambda: module.main(config, flags), flags, saves_when_stopped=name == "pretrain")


def _config(name: str, spec: str, overrides: Sequence[str]) -> "ConfigDict":
    """The config of a command, locked."""
    from amr_jax.config import files

    kind, what, _ = _KINDS[name]
    config = files.get_config(spec)
    if kind not in config:
        theirs = next(((n, w) for n, (k, w, _) in _KINDS.items() if k in config), None)
        found = f"{theirs[1]}, for {theirs[0]}" if theirs else "not a config of amr_jax"
        raise UserError(
            f"--config={spec}: found {found}; {name} expects {what}: "
            f"{', '.join(files.names_of(kind))}."
        )
    files.override(config, overrides, "--config.")
    return config.lock()


def _tree(config: "ConfigDict") -> "settings.Tree":
    from amr_jax.config import base, comparison, evaluation

    if "method" in config:
        return base.of_method(config.method)
    if "protocol" in config:
        return evaluation.of_protocol(config.protocol)
    return comparison.COMPARISON


def _asks_for_help(argv: Sequence[str]) -> bool:
    return any(x in ("-h", "--help") for x in argv)


def _summary(function: Callable) -> str:
    return function.__doc__.splitlines()[0]


if __name__ == "__main__":
    main(prog="python -m amr_jax")
