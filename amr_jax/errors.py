"""The two errors that are meant for the reader of a terminal, and how commands end on them."""

import functools
import sys
from collections.abc import Callable

from absl import flags, logging


class UserError(ValueError):
    """A wrong folder, setting or combination of settings.

    The message says what was found, what was expected and what to do. Commands print it without a
    traceback (`command`) and exit with status 2.
    """


class BadFile(UserError):
    """The content of one file is not what its format promises.

    Args:
      path: the file, or `archive.zip!member`.
      found: what stands there.
      expected: what the format asks for at that place.
      line: 1-based line of the file, where the place is known.
      hint: what to do about it, where there is more to say than "fetch it again".
    """

    def __init__(
        self,
        path: object,
        found: str,
        expected: str,
        line: int | None = None,
        hint: str | None = None,
    ):
        self.path, self.found, self.expected = str(path), found, expected
        self.line, self.hint = line, hint
        place = self.path if line is None else f"{self.path}, line {line}"
        message = f"{place}: found {found}; expected {expected}."
        super().__init__(f"{message} {hint}" if hint else message)

    def __reduce__(self):
        # Worker processes send it home: rebuild from the parts, not from the message.
        return BadFile, (self.path, self.found, self.expected, self.line, self.hint)


def command(main: Callable) -> Callable:
    """Wraps a command's `main`: a `UserError` ends it with its message and exit status 2.

    What the libraries log at INFO is kept off the terminal, unless --verbosity asks for it.
    """

    @functools.wraps(main)
    def wrapped(*args, **kwargs):
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)
        try:
            return main(*args, **kwargs)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)

    return wrapped
