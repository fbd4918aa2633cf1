"""Reads mutants and reports those that end in a fault."""

import contextlib
import dataclasses
import os
import signal
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from amr_jax.errors import UserError
from tests.fuzz import mutations
from tests.fuzz.formats import Format

SECONDS = 2.0  # of processor time, limit for a mutant
LONGEST_MESSAGE = 2000  # characters of an error, with its path


class Fault(Exception):
    """A mutant ended neither in an error that names its file nor in sound data."""


class _TooLong(BaseException):
    """Not an Exception, so that no reader catches it."""


@dataclasses.dataclass
class Tally:
    """Results of the mutants of one format."""

    refused: int = 0
    read: int = 0
    seconds: float = 0.0
    worst: float = 0.0


class Judge:
    """Makes and reads the mutants of one format.

    Args:
      fuzzed: the format.
      seed: of all mutants; seed and number determine a mutant.
      folder: for the files of mutants.
    """

    def __init__(self, fuzzed: Format, seed: int, folder: Path):
        self.format, self.seed, self.path = fuzzed, seed, Path(folder) / fuzzed.file
        self.originals = fuzzed.originals()
        self.expected = [self._read_original(data) for data in self.originals]
        self.spans = [fuzzed.spans(data) if fuzzed.spans else [] for data in self.originals]
        self.tally = Tally()

    def mutant(self, number: int) -> mutations.Mutant:
        """The mutant with this number."""
        rng = np.random.default_rng([self.seed, number])
        special, is_text = self.format.special, self.format.is_text
        return mutations.make(rng, self.originals, special, is_text)

    def try_one(self, number: int) -> None:
        """Reads a mutant; `Fault` describes what went wrong."""
        mutant = self.mutant(number)
        self.path.unlink(missing_ok=True)  # faster than truncation
        self.path.write_bytes(mutant.data)
        os.utime(self.path, ns=(number, number))  # key of the cache of open archives
        begin = time.process_time()
        try:
            with _watched(), warnings.catch_warnings(action="error"):
                # Python warns about invalid escapes in a header that is refused in any case.
                warnings.simplefilter("ignore", DeprecationWarning)
                found = self.format.read(self.path)
        except UserError as error:
            self.tally.refused += 1
            self._check_error(error)
        except _TooLong as error:
            raise Fault(f"more than {SECONDS} s of processor time") from error
        except AssertionError as error:
            raise Fault(f"unsound data: {error}") from error
        except Exception as error:
            raise Fault(f"{type(error).__name__}: {error}") from error
        else:
            self.tally.read += 1
            self._check_rest(mutant, found)
        seconds = time.process_time() - begin
        self.tally.seconds += seconds
        self.tally.worst = max(self.tally.worst, seconds)

    def _read_original(self, data: bytes) -> Sequence:
        self.path.write_bytes(data)
        return self.format.read(self.path)

    def _check_error(self, error: UserError) -> None:
        message = str(error)
        if self.path.name not in message:
            raise Fault(f"an error without the file's name: {message[:200]}") from error
        if len(message) > LONGEST_MESSAGE:
            raise Fault(f"an error of {len(message):,} characters: {message[:200]}") from error
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, MemoryError):
                raise Fault(f"out of memory on the way to: {message[:200]}") from error
            cause = cause.__cause__ or cause.__context__

    def _check_rest(self, mutant: mutations.Mutant, found: Sequence) -> None:
        """Whether data outside of the damage are unchanged."""
        expected = self.expected[mutant.first]
        head, tail = mutations.kept(mutant, self.originals)
        rule = mutant.rule
        if head < self.format.head(self.originals[mutant.first]) and rule == "rest":
            rule = "sane"
        if rule == "rest" and self.format.spans is None:
            if not any(_equal(found, whole) for whole in self.expected):
                raise Fault("other data than in any of the originals, and no error")
            return
        if rule == "same" and not _equal(found, expected):
            raise Fault(f"{_short(found)}; expected the same as of the original")
        if rule == "rest" and self.spans[mutant.first] and self.spans[mutant.last]:
            end = len(self.originals[mutant.last]) - tail
            num_first = sum(b <= head for _, b in self.spans[mutant.first])
            num_last = sum(a >= end for a, _ in self.spans[mutant.last])
            last = self.expected[mutant.last]
            if len(found) < num_first + num_last:
                raise Fault(f"{len(found)} values; {num_first} + {num_last} stand outside")
            if not _equal(found[:num_first], expected[:num_first]):
                raise Fault(f"the first {num_first} values have changed")
            if not _equal(found[len(found) - num_last :], last[len(last) - num_last :]):
                raise Fault(f"the last {num_last} values have changed")


def _equal(one: Sequence, other: Sequence) -> bool:
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    return one == other


def _short(found: Sequence) -> str:
    return f"{len(found)} values, {str(found)[:100]}"


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    """Stops the block after `SECONDS` of processor time."""

    def stop(*_):
        raise _TooLong

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
