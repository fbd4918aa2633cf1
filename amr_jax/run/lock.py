"""A workdir belongs to one run at a time.

Process 0 of a run holds an exclusive `flock` on the file `.lock` in the workdir. The system
releases it when the process ends, however it ends. Between machines it works on NFS, and on Lustre
mounted with `-o flock`.

Not guaranteed: object storage (`gs://`, `s3://`) has no locks, and neither do some network file
systems. There, nothing refuses a second run in the same workdir, and two runs overwrite each
other's checkpoints and metrics. A host that is disconnected from a network file system for long may
lose its lock without noticing.
"""

import datetime
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import IO

import jax
from etils import epath

from amr_jax.errors import UserError
from amr_jax.run import console, distributed, paths

LOCK_FILE = ".lock"


@contextmanager
def hold(folder: os.PathLike | str) -> Iterator[None]:
    """Owns the workdir while the block runs; makes it if absent. Every process calls this.

    A folder that this call made is removed again if the block wrote nothing into it.

    Raises:
      UserError: on every process: another run owns the workdir, or it cannot be written.
    """
    is_first, folder = jax.process_index() == 0, paths.absolute(folder)
    is_new = is_first and not folder.exists()
    with distributed.together(lambda: _take(folder) if is_first else None) or nullcontext():
        try:
            yield
        finally:
            if is_new and [entry.name for entry in folder.iterdir()] == [LOCK_FILE]:
                (folder / LOCK_FILE).unlink()
                folder.rmdir()


def _take(folder: epath.Path) -> IO | None:
    """The locked file, to be closed in the end; None in a bucket."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--workdir={folder}: cannot make this folder ({error}).") from error
    if paths.is_remote(folder):
        return None
    path = folder / LOCK_FILE
    file = path.open("a")
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        owner = path.read_text().strip()
        raise UserError(
            f"{folder}: another run uses this workdir: {owner}. Wait for its end, end it, or "
            "choose another --workdir."
        ) from error
    except OSError as error:
        console.say(
            f"warning: {folder}: this file system has no locks ({error}). Start no second run in "
            "this workdir: it would not be refused."
        )
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}, since {now}\n")
    file.flush()
    for left in folder.iterdir():  # temporary files of `workdir.write` that a killed run left
        if left.name.startswith(".") and left.name.endswith(".tmp"):
            left.unlink(missing_ok=True)
    return file
