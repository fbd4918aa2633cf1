"""How the commands start, on one host or on several, and how they end.

Exit status 0: done; 2: an error that is the user's to mend, said in one message; 75: told to end,
and saved (`run.preemption`): the same command goes on. Anything else is a defect, or on several
hosts the end of another one; the same command, started on all of them, goes on from what is saved.
"""

import contextlib
import functools
import os
import re
import signal
import sys
from collections.abc import Callable
from logging import LogRecord
from typing import NoReturn

import ml_collections
from absl import app, flags, logging
from ml_collections import config_flags

from amr_jax.errors import Preempted, UserError, for_the_user

# sysexits.h's EX_TEMPFAIL: nothing is wrong, try again.
PREEMPTED_STATUS = 75


def command(main: Callable) -> Callable:
    """Wraps a command's `main`: `UserError` and `Preempted` end it with message and exit status.

    So does a disk that is full or not to be written, wherever it is met. What the libraries log at
    INFO is kept off the terminal, unless --verbosity asks for it, and so are Orbax's tracebacks of
    what it raises as well.
    """

    @functools.wraps(main)
    def wrapped(*args, **kwargs):
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)
            logging.get_absl_handler().addFilter(_is_not_told_twice)
        try:
            return main(*args, **kwargs)
        except Preempted as notice:
            print(notice, file=sys.stderr)
            sys.exit(PREEMPTED_STATUS)
        except (UserError, OSError) as error:
            told = for_the_user(error)
            if told is None:
                raise
            _end(told)

    return wrapped


def _told_to_end(*_) -> NoReturn:
    """SIGTERM where nothing listens to it (`preemption.Notice`) and nothing has to be saved."""
    raise Preempted("told to end (SIGTERM). The same command can be given again.")


def _is_not_told_twice(record: LogRecord) -> bool:
    """False of what Orbax, and asyncio on its behalf, log of a failed save: a page for each array.

    `amr_jax.run.checkpoint` says it in one message.
    """
    return not (record.exc_info and ("orbax" in record.pathname or record.name == "asyncio"))


def run_with_config(
    run: Callable[[ml_collections.ConfigDict, str], object],
    workdir: str,
    several_hosts: bool = False,
    saves_when_preempted: bool = False,
) -> None:
    """A command with the flags --config, --config.KEY and --workdir, both required.

    Args:
      run: called with the locked config and the workdir.
      workdir: what --workdir is for.
      several_hosts: whether it can be one of several processes of one run
        (`amr_jax.run.distributed`), by their surroundings or by flags that it then has.
      saves_when_preempted: whether `run` listens to `preemption.Notice`.
    """
    config = config_flags.DEFINE_config_file(
        "config", None, "config file and its argument: configs/amr.py:nwucla", lock_config=True
    )
    folder = flags.DEFINE_string("workdir", None, workdir)
    flags.mark_flags_as_required(["config", "workdir"])
    if several_hosts:
        flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, at which all meet")
        flags.DEFINE_integer("num_processes", None, "how many processes make up this run")
        flags.DEFINE_integer("process_id", None, "which of them this one is, from 0")
        flags.DEFINE_integer(
            "meeting_timeout", None, "seconds that they wait for each other, if not five minutes", 1
        )

    @command
    def main(argv: list[str]) -> None:
        if len(argv) > 1:
            raise UserError(f"unexpected arguments: {' '.join(argv[1:])}.")
        signal.signal(signal.SIGTERM, _told_to_end)
        # Imported late: commands without a config run without JAX.
        from amr_jax.run import compilation, distributed

        compilation.keep_beside(folder.value)
        if not several_hosts:
            run(config.value, folder.value)
            return
        names = ("coordinator", "num_processes", "process_id", "meeting_timeout")
        distributed.start(*(flags.FLAGS[name].value for name in names), saves_when_preempted)
        if distributed.several() and not saves_when_preempted:
            # One of several cannot end well by itself.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with distributed.ends_at_once():
            run(config.value, folder.value)

    app.run(main, flags_parser=_parse)


def _parse(argv: list[str]) -> list[str]:
    """Parses the flags; what is wrong with one ends the command with one message."""
    try:
        rest = flags.FLAGS(argv)
        # A config file that is not there shows when a value is asked for.
        if flags.FLAGS["config"].value is not None:
            flags.FLAGS["config"].value.keys()
        return rest
    except (flags.Error, AttributeError, KeyError, OSError) as error:
        _end(_explained(error, argv))


def _explained(error: Exception, argv: list[str]) -> UserError:
    """What absl and ml_collections raise for wrong flags, for the reader of a terminal."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, (AttributeError, KeyError)):
        key = re.search(r"\w+", lines[0])
        flag = next(
            (arg for arg in argv if key and re.match(rf"--config\..*\b{key[0]}\b", arg)), lines[0]
        )
        hint = re.search(r'Did you mean "\w+"', str(error))
        return UserError(
            f"{flag}: the config has no such key. {hint[0] + '?' if hint else ''}".rstrip()
        )
    if isinstance(error, OSError):
        return UserError(
            f"the config file could not be read: {lines[-1]}. Paths are relative to the current "
            "folder; the project's own stand in configs/ of the repository."
        )
    # An error inside a config file comes as a traceback in the message: its end says what it is.
    own = [line for line in lines if line.startswith("amr_jax.errors.UserError: ")]
    return UserError(own[-1].partition(": ")[2] if own else " ".join(lines))


def _end(error: UserError) -> None:
    with contextlib.suppress(OSError):  # into a file on a full disk: the status is left to tell it
        print(f"error: {error}", file=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:
        # Else Python tries once more at its end, and puts its own status in place of this one.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(2)
