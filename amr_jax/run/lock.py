"""A workdir is owned by one run at a time.

The owner's name stands in `lock.json`; process 0 of a run writes it, and a counter in it every ten
seconds. Who finds the name of a process of the same machine looks whether that process is still
there, so that a killed run's successor goes on at once. Who finds another machine's watches whether
the file changes: clocks are not compared, and may jump and differ.

Only whole files are read, replaced and removed: that works on object storage, too, where nothing is
created exclusively. Hence this is guaranteed: what starts while another run is alive is refused. Of
two that start within the same milliseconds both may begin; the one whose name was overwritten ends
at its next checkpoint, without saving it. So does a run that stood still for longer than others
watch (a suspended machine), and then goes on.
"""

import contextlib
import datetime
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import jax
from etils import epath

from amr_jax.errors import UserError
from amr_jax.run import console, distributed, paths
from amr_jax.run import workdir as workdirs

LOCK_FILE = "lock.json"

BEAT_S = 10.0
WATCH_S = 45.0  # some beats, as some may come late
_LOOK_EVERY_S = 1.0

# Together they name what process numbers count in: one boot of one kernel, one container.
_MACHINE = ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid")


@contextlib.contextmanager
def hold(folder: os.PathLike | str) -> Iterator["Lock"]:
    """Owns the workdir while the block runs; makes it if need be. Every process has to call.

    Raises:
      UserError: on all processes: another run owns it, or it cannot be written.
    """
    lock, refusal = Lock(folder), ""
    if jax.process_index() == 0:
        try:
            lock.take()
        except (UserError, OSError) as error:  # the others are waiting to hear of it
            refusal = str(error)
    if refusal := distributed.of_first(refusal):
        raise UserError(refusal)
    try:
        yield lock
    finally:
        lock.release()


class Lock:
    """What `hold` hands out. It does nothing on a process that has not taken it."""

    def __init__(self, folder: os.PathLike | str):
        self._folder = paths.absolute(folder)
        self._path = self._folder / LOCK_FILE
        self._owner = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "token": uuid.uuid4().hex,
            "machine": machine(),
            "started": started(os.getpid()),
            "beat": 0,
        }
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self) -> None:
        """Makes the folder and writes the name; `UserError` if another's stands there, alive."""
        workdirs.make(self._folder)
        if (text := _text(self._path)) is not None:
            owner = _parsed(text)
            if _alive(owner) or (_alive(owner) is None and self._changes(text)):
                raise self._refusal(owner)
            console.say(f"note: {self._path} was left by {_named(owner)}, which is gone.")
        self._write()
        if (other := self._other()) is not None:
            raise self._refusal(other)
        workdirs.remove_leftovers(self._folder)
        self._thread = threading.Thread(target=self._beat, name="lock", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises `UserError` if another run has taken the workdir over."""
        if self._thread is not None and (other := self._other()) is not None:
            raise UserError(
                f"{self._folder}: {_named(other)} has taken this workdir over: it saw no sign of "
                f"life of this run for {WATCH_S:.0f} s, or started together with it. This one ends "
                "without saving."
            )

    def release(self) -> None:
        """Takes the name away, if it is still this one's."""
        if self._thread is None:
            return
        self._end.set()
        self._thread.join(timeout=BEAT_S)
        with contextlib.suppress(Exception):  # what cannot be removed is known to be stale
            if self._other() is None:
                self._path.unlink(missing_ok=True)
        self._thread = None

    def _beat(self) -> None:
        while not self._end.wait(BEAT_S):
            # What fails now is tried again, whatever a disk or a bucket's library raises; whoever
            # has something to save tells of it.
            with contextlib.suppress(Exception):
                if self._other() is not None:
                    return  # which `check` will find
                self._owner["beat"] += 1
                self._write()

    def _write(self) -> None:
        workdirs.write(self._path, json.dumps(self._owner, indent=2) + "\n")

    def _other(self) -> dict | None:
        """Whose name stands there, if it is not this one's."""
        text = _text(self._path)
        owner = {} if text is None else _parsed(text)
        return owner if text is not None and owner.get("token") != self._owner["token"] else None

    def _changes(self, text: str) -> bool:
        """Watches whether somebody goes on writing; a name that is taken away leaves it free."""
        console.say(
            f"{self._path}: found {_named(_parsed(text))}. Whether that run is alive cannot be "
            f"seen from here; watching for {WATCH_S:.0f} s whether it goes on writing there …"
        )
        end = time.monotonic() + WATCH_S
        while time.monotonic() < end:
            time.sleep(_LOOK_EVERY_S)
            if (now := _text(self._path)) != text:
                return now is not None
        return False

    def _refusal(self, owner: dict) -> UserError:
        return UserError(
            f"{self._folder}: another run uses this workdir: {_named(owner)}. Wait for its end, "
            "end it, or choose another --workdir."
        )


def machine() -> str | None:
    """What process numbers are comparable in; None where the system does not tell."""
    boot, namespace = map(Path, _MACHINE)
    try:
        return f"{socket.gethostname()} {boot.read_text().strip()} {os.readlink(namespace)}"
    except OSError:
        return None


def started(pid: int) -> int | None:
    """When a process of this machine started, in ticks since the boot; None if there is none.

    A number can be given again; number and start together cannot. Who has ended, but was not yet
    waited for by its parent, is none.
    """
    try:
        # After the name, which may hold anything, in parentheses: state, and further fields.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    state, start = fields[0], fields[19]
    return None if state in "ZX" else int(start)


def _alive(owner: dict) -> bool | None:
    """Whether the owner's process is there; None where this machine cannot tell."""
    here = machine()
    if here is None or owner.get("machine") != here:
        return None
    return owner["started"] is not None and started(owner["pid"]) == owner["started"]


def _named(owner: dict) -> str:
    if not owner:
        return "an owner whose name is not readable"
    return f"process {owner['pid']} on {owner['host']}, since {owner['since']}"


def _text(path: epath.Path) -> str | None:
    """The file's content; None if there is none."""
    try:
        return path.read_bytes().decode(errors="replace")
    except FileNotFoundError:
        return None


def _parsed(text: str) -> dict:
    """The owner; {} where the file is damaged."""
    try:
        owner = json.loads(text)
    except ValueError:
        return {}
    wanted = {"host", "pid", "since", "token", "machine", "started"}
    return owner if isinstance(owner, dict) and wanted <= owner.keys() else {}
