"""Exceptions that end a command with a message instead of a traceback."""

import difflib
import errno
from collections.abc import Iterable

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

_LONGEST = 600  # characters of each half of a message: a file's content may be quoted in it


class UserError(ValueError):
    """A wrong folder, setting or combination of settings.

    The message says what was found, what was expected and what to do. Commands print it without a
    traceback and exit with status 2 (`amr_jax.run.cli`).
    """


class BadFile(UserError):
    """The content of one file is not what its format promises.

    Args:
      path: the file, or `archive.zip!member`.
      found: what the file contains there; long texts are cut, control characters escaped.
      expected: what the format requires there; treated alike.
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
        self.path = readable(path)
        self.found, self.expected = _printable(found), _printable(expected)
        self.line, self.hint = line, hint
        place = self.path if line is None else f"{self.path}, line {line}"
        message = f"{place}: found {self.found}; expected {self.expected}."
        super().__init__(f"{message} {hint}" if hint else message)

    def __reduce__(self):
        # Worker processes pickle it: rebuild it from its parts, not from the message.
        return type(self), (self.path, self.found, self.expected, self.line, self.hint)


class Preempted(Exception):
    """A run was stopped and has saved; commands exit with status 75 (`amr_jax.run.cli`)."""


def for_the_user(error: BaseException) -> UserError | None:
    """The `UserError` to print for an exception; None if the exception is a bug."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        return not_utf8(error.object)
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return UserError(f"{error}. Free some space, then run the same command again.")
    return None


def cause(error: Exception) -> str:
    """An exception in a note on what is left out because of it: a bug's with its type."""
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


def readable(path: object) -> str:
    """A path as text for records, tables and messages.

    File systems also hold names that are not UTF-8 (GBK, Shift-JIS). Python keeps such bytes as
    surrogates, which no file and no terminal takes; here they become `\\xb6`. All other names stay
    as they are.
    """
    return str(path).encode(errors="surrogateescape").decode(errors="backslashreplace")


def not_utf8(path: str) -> UserError:
    """The error for a folder or file whose name is not UTF-8, where libraries need that."""
    return UserError(
        f"{readable(path)}: found a name that is not UTF-8; expected UTF-8. Rename it, or choose "
        "another folder. (Raw files may have such names: --manual_dir and FILE… of predict.)"
    )


def _printable(text: str) -> str:
    """The text as a terminal can show it, whatever file it is quoted from."""
    short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in short)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The one of `known` that a misspelt `name` is closest to; None if none is close.

    Names may be dotted keys: 'lr' is near 'optim.lr'.
    """
    known = tuple(known)
    # Among keys with the same last part, prefer the shallowest, then the first.
    lasts = {}
    for key in sorted(known, key=lambda key: key.count(".")):
        lasts.setdefault(last_part(key), key)
    candidates = [lasts[last_part(name)]] if last_part(name) in lasts else []
    candidates += [key for key in known if key.startswith(name)]
    candidates += difflib.get_close_matches(name, known, 1)
    candidates += [lasts[x] for x in difflib.get_close_matches(last_part(name), lasts, 1)]
    candidates += [key for key in known if letters(key).startswith(letters(name))]
    return candidates[0] if candidates and letters(name) else None


def did_you_mean(name: str, known: Iterable[str], form: str = "{}") -> str:
    """' Did you mean …?', or '' if no name is near; `form` is how the user would write it."""
    near = nearest(name, known)
    return f" Did you mean {form.format(near)}?" if near else ""


def last_part(key: str) -> str:
    """The last part of a dotted key."""
    return key.rpartition(".")[2]


def letters(name: str) -> str:
    """A name without case and punctuation."""
    return "".join(c for c in name.lower() if c.isalnum())
