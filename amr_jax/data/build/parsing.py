"""Parses raw files in parallel into a spool on disk, so that memory stays bounded.

The spool holds the joints of every sequence in flat float32 files, one per chunk of raw files,
written by the process that parses the chunk. The rest of an example (name, label, ...) is small and
stays in memory. The content and order of a spool do not depend on the number of workers.
"""

import collections
import concurrent.futures
import dataclasses
import hashlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np

from amr_jax.data.readers.files import ON_BAD_FILE, LeftOut, NoBody, RawFile
from amr_jax.errors import BadFile, UserError
from amr_jax.run.console import progress_bar

_CHUNK = 32  # raw files per message to a worker: about 50 ms of work
_AHEAD = 4  # chunks in flight per worker
# Settings of glibc for workers: reuse freed memory. A parser's arrays live for a millisecond, and
# getting their pages from the system again takes as long as parsing.
_MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(2**25), "MALLOC_MMAP_THRESHOLD_": str(2**25)}


@dataclasses.dataclass(frozen=True)
class _Entry:
    """Where the joints of a sequence are in the spool, and the other fields of its example."""

    file: str
    offset: int  # bytes
    shape: tuple[int, ...]
    fields: dict
    digest: bytes  # of the joints


class Spool:
    """Parsed sequences: `len`, `fields(i)` without the joints, `example(i)` with them."""

    def __init__(self, folder: Path):
        self._folder = Path(folder)
        self.entries: list[_Entry] = []
        self.left_out: list[LeftOut] = []

    def __len__(self) -> int:
        return len(self.entries)

    def fields(self, index: int) -> dict:
        """Example `index` without its joints."""
        return self.entries[index].fields

    def findings(self) -> list[dict[str, int]]:
        """The counts of `readers.findings` of every example."""
        return [entry.fields.get("findings", {}) for entry in self.entries]

    def shape(self, index: int) -> tuple[int, ...]:
        """(T, M, V, C) of the joints of example `index`."""
        return self.entries[index].shape

    def equal(self) -> list[list[str]]:
        """Names of the sequences whose joints are the same, number by number; groups of several."""
        groups: dict[tuple, list[str]] = {}
        for entry in self.entries:
            groups.setdefault((entry.shape, entry.digest), []).append(entry.fields["name"])
        return [names for names in groups.values() if len(names) > 1]

    def example(self, index: int) -> dict:
        """Example `index`, with `joints` (T, M, V, C) float32."""
        entry = self.entries[index]
        joints = np.fromfile(
            self._folder / entry.file, np.float32, int(np.prod(entry.shape)), offset=entry.offset
        )
        return {"joints": joints.reshape(entry.shape), **entry.fields}


def parse(
    read: Callable[[object], dict | list],
    tasks: Sequence[object],
    folder: Path,
    *,
    num_workers: int = 1,
    on_bad_file: str = "fail",
    description: str = "parsing",
) -> Spool:
    """Reads every task and spools the examples, in the order of `tasks`.

    Args:
      read: task -> example (a dict with `joints` (T, M, V, C) float32 and `name`; `findings`, if
        there are any), or list of examples and `LeftOut`s. A task without a body (`NoBody`) is left
        out. Picklable if `num_workers` > 1; workers start faster if its module does not import
        TFDS.
      tasks: raw files, or objects with a `name`; each is read exactly once.
      folder: empty folder for the spool; the caller removes it.
      num_workers: processes to parse in; 1 parses in this one.
      on_bad_file: 'fail' raises the first `BadFile` (in the order of `tasks`); 'skip' lists the
        file as left out and continues.
      description: label of the progress bar.

    Raises:
      BadFile: see `on_bad_file`.
      UserError: a worker process was killed.
    """
    if on_bad_file not in ON_BAD_FILE:
        raise UserError(f"--on_bad_file is {on_bad_file!r}; expected {' or '.join(ON_BAD_FILE)}.")
    chunks = [tasks[start : start + _CHUNK] for start in range(0, len(tasks), _CHUNK)]
    jobs = [
        (read, chunk, str(Path(folder) / f"{number:06d}.joints"), on_bad_file == "skip")
        for number, chunk in enumerate(chunks)
    ]
    spool = Spool(folder)
    with progress_bar(description, len(tasks)) as advance:
        for entries, left_out, num_files in _run(jobs, num_workers):
            spool.entries += entries
            spool.left_out += left_out
            advance(num_files)
    return spool


def _run(jobs: Sequence[tuple], num_workers: int) -> Iterator[tuple]:
    """Yields `_parse_chunk(*job)` for every job in order; a bounded number of jobs is in flight."""
    if num_workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            yield _parse_chunk(*job)
        return
    os.environ.update(_MALLOC)
    executor = concurrent.futures.ProcessPoolExecutor(
        min(num_workers, len(jobs)),
        # Not fork: the calling process may hold threads (tests and notebooks run JAX).
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
    )
    try:
        waiting: collections.deque = collections.deque()
        for job in jobs:
            waiting.append(executor.submit(_parse_chunk, *job))
            if len(waiting) >= _AHEAD * num_workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process ended while parsing (killed, or out of memory?); "
            "run again with a smaller --num_workers."
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Leaves Ctrl-C to the parent, and ends the worker if the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def exit_with_parent() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=exit_with_parent, daemon=True).start()


def _parse_chunk(read: Callable, tasks: Sequence, path: str, skip: bool) -> tuple:
    """Reads `tasks`, writes joints to `path`; returns (entries, left out, number of tasks)."""
    entries, left_out = [], []
    with open(path, "wb") as file:
        for task in tasks:
            for example in _read(read, task, skip):
                if isinstance(example, LeftOut):
                    left_out.append(example)
                    if example.bad is not None and not skip:
                        raise example.bad
                    continue
                fields = dict(example)
                joints = np.ascontiguousarray(fields.pop("joints"), np.float32)
                place = os.path.basename(path), file.tell(), joints.shape
                digest = hashlib.blake2b(joints.data, digest_size=16).digest()
                entries.append(_Entry(*place, fields, digest))
                file.write(joints.data)
    return entries, left_out, len(tasks)


def _read(read: Callable, task: object, skip: bool) -> list:
    """The examples of a task; one `LeftOut` if it has no body, or is bad and may be skipped."""
    name = os.path.splitext(task.name)[0] if isinstance(task, RawFile) else task.name
    try:
        found = read(task)
    except NoBody as error:
        return [LeftOut(name, error.path, error.found)]
    except BadFile as error:
        if not skip:
            raise
        return [LeftOut(name, error.path, f"bad file: {error}")]
    return found if isinstance(found, list) else [found]
