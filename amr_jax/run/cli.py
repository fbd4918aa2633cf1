"""The command line: flags, how commands start on one host or several, and how they end.

Exit status: 0 done; 2 an error that the user can correct, in one message; 75 stopped and saved
(`run.preemption`), and the same command resumes; 130 interrupted. Any other status is a bug, or on
several hosts the end of another process: the same command on all hosts resumes from the last save.
"""

import argparse
import contextlib
import functools
import os
import select
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from logging import LogRecord
from typing import NoReturn

from amr_jax.errors import Preempted, UserError, did_you_mean, for_the_user, not_utf8, readable

# sysexits.h's EX_TEMPFAIL: nothing is wrong, try again.
PREEMPTED_STATUS = 75


class Parser(argparse.ArgumentParser):
    """Flags as `--name=value` or `--name value`; raises `UserError` instead of exiting."""

    def __init__(self, prog: str, about: str):
        super().__init__(
            prog=prog, description=about, allow_abbrev=False, formatter_class=_Formatter
        )
        self._needed: dict[str, str] = {}
        self.keys: Callable[[], Iterable[str]] = tuple  # more names to suggest for a misspelt one
        self.add("verbosity", int, -1, "log level of libraries: -1 warnings, 0 info, 1 debug")

    def add(self, name: str, kind: type | Callable, default=None, help: str = "", **more) -> None:
        """A flag with a value."""
        self.add_argument(f"--{name}", type=kind, default=default, help=help, **more)

    def add_needed(self, name: str, help: str, **more) -> None:
        """A required flag."""
        self.add_argument(f"--{name}", help=f"{help} (required)", **more)
        self._needed[name] = help

    def add_switch(self, name: str, help: str) -> None:
        """A flag that is given or not: `--name`, `--noname`, or `--name=true`."""
        self.add_argument(
            f"--{name}", type=_boolean, nargs="?", const=True, default=False, help=help
        )
        self.add_argument(f"--no{name}", dest=name, action="store_false", help=argparse.SUPPRESS)

    def add_files(self, name: str, help: str, kind: Callable = str) -> None:
        """Arguments without a flag; they may stand between flags."""
        self.add_argument(name, nargs="*", type=kind, help=help)

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """The values of all flags; `argv` does not begin with the command's name.

        Raises:
          UserError: an unknown or missing flag; a value of another kind, or not in UTF-8.
        """
        found, rest = self.parse_known_intermixed_args(argv)
        if rest:
            self._refuse(rest[0])
        for action in self._actions:
            if action.type is not any_name:
                refuse_any_name(getattr(found, action.dest, None))
        for name, help in self._needed.items():
            if getattr(found, name) in (None, ""):
                raise UserError(f"--{name} is missing: {help}.")
        return found

    def _refuse(self, argument: str) -> NoReturn:
        if not argument.startswith("-"):
            raise UserError(
                f"unknown argument {argument!r}; flags are --name=value ({self._more()})."
            )
        name = argument.partition("=")[0].lstrip("-")
        flags = [text[2:] for text in self._option_string_actions if text.startswith("--")]
        hint = did_you_mean(name, [*flags, *self.keys()], "--{}")
        raise UserError(f"{argument}: unknown flag.{hint or f' ({self._more()})'}")

    def _more(self) -> str:
        return f"{self.prog} --help"

    def error(self, message: str) -> NoReturn:
        """Raises `UserError`; called by argparse."""
        raise UserError(f"{message} ({self._more()}).")


class _Formatter(argparse.HelpFormatter):
    """Help with the default of each flag."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=32, width=100)

    def _get_help_string(self, action: argparse.Action) -> str:
        if action.default in (None, False, argparse.SUPPRESS) or action.nargs == "*":
            return action.help
        return f"{action.help} (default {action.default})"


def at_least(low: int) -> Callable[[str], int]:
    """The type of a flag whose value is a whole number, `low` or more."""

    def whole_number(text: str) -> int:
        if (value := int(text)) < low:
            raise argparse.ArgumentTypeError(f"{value}: expected at least {low}")
        return value

    return whole_number


def any_name(text: str) -> str:
    """The type of a flag that names files to read: their names need not be UTF-8."""
    return text


def refuse_any_name(value: object) -> None:
    """Raises `UserError` for a text that is not UTF-8: libraries write no file of such a name."""
    for text in value if isinstance(value, (list, tuple)) else [value]:
        if isinstance(text, str) and readable(text) != text:
            raise not_utf8(text)


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise argparse.ArgumentTypeError(f"{text!r}: expected true or false")
    return text.lower() in ("true", "1")


def command(main: Callable) -> Callable:
    """Wraps a command: its errors become one message and an exit status.

    A full or read-only disk counts as such an error. When the reader of a pipe ends (`| head`), the
    command ends silently.
    """

    @functools.wraps(main)
    def wrapped(*args, **kwargs):
        try:
            result = main(*args, **kwargs)
            sys.stdout.flush()
            return result
        except Preempted as notice:
            print(notice, file=sys.stderr)
            sys.exit(PREEMPTED_STATUS)
        except KeyboardInterrupt:
            _end("interrupted.", 128 + signal.SIGINT)
        except (UserError, OSError, UnicodeEncodeError) as error:
            if _reader_is_gone():
                _end("", 128 + signal.SIGPIPE)
            told = for_the_user(error)
            if told is None:
                raise
            _end(f"error: {readable(told)}", 2)

    return wrapped


def _reader_is_gone() -> bool:
    """Whether standard output is a pipe whose reader has ended."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), select.POLLOUT)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError):  # no descriptor, as under pytest
        return False


def _end(message: str, status: int) -> NoReturn:
    with contextlib.suppress(OSError):  # standard error may be on a full disk; the status remains
        if message:
            print(message, file=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:
        # Python flushes again at exit, and would replace this exit status with its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def quieten_libraries(verbosity: int) -> None:
    """Keeps the libraries' log below `verbosity`, and Orbax's tracebacks, off the terminal."""
    from absl import logging

    logging.set_verbosity(verbosity)
    if verbosity < 0:
        logging.get_absl_handler().addFilter(_is_not_reported_twice)


def _is_not_reported_twice(record: LogRecord) -> bool:
    """False for what Orbax and asyncio log about a failed save: a page for each array.

    `amr_jax.run.checkpoint` reports it in one message.
    """
    return not (record.exc_info and ("orbax" in record.pathname or record.name == "asyncio"))


def add_host_flags(parser: Parser) -> None:
    """The flags of a command that can be one of several processes of one run."""
    parser.add("coordinator", str, None, "HOST:PORT of process 0, at which all processes meet")
    parser.add("num_processes", int, None, "processes of this run")
    parser.add("process_id", int, None, "number of this process, from 0")
    parser.add("meeting_timeout", at_least(1), None, "seconds to wait for the others; default 300")


def start(run: Callable[[], object], flags: argparse.Namespace, saves_when_stopped: bool) -> None:
    """Runs a command that uses devices: sets up compilation cache, SIGTERM handler and processes.

    Args:
      run: the command itself.
      flags: its flags: `workdir`, and those of `add_host_flags` if it may have several hosts.
      saves_when_stopped: whether `run` handles SIGTERM itself, and saves (`run.preemption`).
    """
    # Imported late: commands without devices run without JAX.
    from amr_jax.run import compilation, distributed

    signal.signal(signal.SIGTERM, _stopped)
    compilation.keep_beside(flags.workdir)
    if not hasattr(flags, "coordinator"):
        run()
        return
    distributed.start(
        flags.coordinator,
        flags.num_processes,
        flags.process_id,
        flags.meeting_timeout,
        saves_when_stopped,
    )
    if distributed.several() and not saves_when_stopped:
        # One of several processes cannot end cleanly by itself.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with distributed.ends_at_once():
        run()


def _stopped(*_) -> NoReturn:
    """SIGTERM where nothing has to be saved."""
    raise Preempted("stopped on request (SIGTERM). Start again with the same command.")
