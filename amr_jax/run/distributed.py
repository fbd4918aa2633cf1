"""A run of several processes: how they find each other, agree, and end.

`jax.distributed` connects them. It is started by the flags of a command, by SLURM or Open MPI, or
on the hosts of a TPU slice. A single process does not start it.
"""

import collections
import contextlib
import importlib.util
import json
import os
import pickle
import sys
import traceback
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from amr_jax.errors import Preempted, UserError, for_the_user

# Seconds without a heartbeat after which JAX considers a process dead and ends the others.
HEARTBEAT_TIMEOUT_S = 60
# Seconds that processes wait for each other at the start, unless a flag sets them, and at the end.
MEETING_TIMEOUT_S = 300

# Kubernetes gives the hosts of a slice, or of several slices, in one of these variables.
_TPU_HOSTS = ("TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES")
T = TypeVar("T")

# Whether this process is connected to others.
_several = False


def start(
    coordinator: str | None,
    num_processes: int | None,
    process_id: int | None,
    meeting_timeout_s: int | None = None,
    saves_when_preempted: bool = False,
) -> None:
    """Connects this process to the others of its run, if there are any.

    Call this before anything asks JAX for its devices. The first three arguments are all given, or
    none: then SLURM, Open MPI or the TPU slice announce the processes, and JAX determines the rest.

    Args:
      coordinator: HOST:PORT of process 0, where all meet.
      num_processes: of the run.
      process_id: of this one, from 0.
      meeting_timeout_s: how long the processes wait for each other; default `MEETING_TIMEOUT_S`.
      saves_when_preempted: JAX handles SIGTERM for `run.preemption`; else it ends the process.

    Raises:
      UserError: some of the arguments are missing or wrong, or the processes did not meet.
    """
    jax.config.update("jax_enable_preemption_service", saves_when_preempted)
    timeout_s = meeting_timeout_s or MEETING_TIMEOUT_S
    given = {"coordinator": coordinator, "num_processes": num_processes, "process_id": process_id}
    missing = [f"--{name}" for name, value in given.items() if value is None]
    if not missing:
        if not 0 <= process_id < num_processes or ":" not in coordinator:
            raise UserError(
                f"--coordinator={coordinator} --num_processes={num_processes} "
                f"--process_id={process_id}: expected HOST:PORT of process 0, the number of "
                "processes of the run, and the number of this one, from 0."
            )
        if num_processes > 1:
            given["coordinator_address"] = given.pop("coordinator")
            _initialise(timeout_s, **given, local_device_ids=[])
    elif len(missing) < len(given):
        raise UserError(
            f"{', '.join(missing)}: missing. Give --coordinator, --num_processes and --process_id "
            "together, or none of them (SLURM, Open MPI and TPU slices are recognised)."
        )
    elif (arguments := announced(os.environ)) is not None:
        _initialise(timeout_s, **arguments)
    elif _may_be_in_slice(os.environ):
        _join_slice(timeout_s)


def announced(environ: Mapping[str, str]) -> dict | None:
    """Arguments for `jax.distributed.initialize` where the environment announces several processes.

    None if it does not. JAX determines what is not among the arguments.
    """
    if "SLURM_STEP_NODELIST" in environ:  # a step: within `srun`
        tasks = int(environ.get("SLURM_STEP_NUM_TASKS", environ.get("SLURM_NTASKS", "1")))
        return {"num_processes": tasks, **_devices_of_task(environ)} if tasks > 1 else None
    hosts = next((environ[name] for name in _TPU_HOSTS if environ.get(name)), "")
    several = (
        int(environ.get("OMPI_COMM_WORLD_SIZE", "1")) > 1
        or int(environ.get("MEGASCALE_NUM_SLICES") or "1") > 1
        or "," in hosts
    )
    return {} if several else None


def _devices_of_task(environ: Mapping[str, str]) -> dict:
    """The GPUs of this SLURM task: JAX would give every task one, even the only task of a node."""
    visible = environ.get("CUDA_VISIBLE_DEVICES", "")
    alone = environ.get("SLURM_STEP_TASKS_PER_NODE", "").partition("(")[0] == "1"
    # The only task of its node, or one that sees only its own GPU: it takes all GPUs that it sees.
    return {"local_device_ids": []} if alone or (visible and "," not in visible) else {}


def _may_be_in_slice(environ: Mapping[str, str]) -> bool:
    """Whether this host has TPU chips, and nothing in `environ` lists the hosts of its slice."""
    known = any(environ.get(name) for name in _TPU_HOSTS) or "TPU_SKIP_MDS_QUERY" in environ
    if known or environ.get("JAX_PLATFORMS", "tpu") not in ("tpu", ""):
        return False
    chips = epath.Path("/dev/accel0").exists() or epath.Path("/dev/vfio").exists()
    return chips and importlib.util.find_spec("libtpu") is not None


def _join_slice(timeout_s: int) -> None:
    """Connects the hosts of a TPU slice on Compute Engine: JAX asks its metadata server for them.

    A server that does not answer is an error: continuing alone would leave other hosts waiting.
    """
    global _several
    try:
        _initialise(timeout_s)
    except UserError as error:
        if not isinstance(error.__cause__, ValueError):  # JAX found chips, but no slice
            raise
    else:
        _several = jax.process_count() > 1


def _initialise(timeout_s: int, **arguments) -> None:
    """Connects the processes.

    Raises:
      UserError: they did not meet.
    """
    global _several
    try:
        jax.distributed.initialize(
            **arguments,
            initialization_timeout=timeout_s,
            heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT_S,
            shutdown_timeout_seconds=MEETING_TIMEOUT_S,
        )
    except (RuntimeError, ValueError, OSError) as error:  # of gRPC, JAX and the metadata server
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise UserError(
            f"the processes of this run did not meet within {timeout_s} s: {reason}\n"
            "Start the same command on all hosts; process 0 must be reachable from the others."
        ) from error
    _several = True


def several() -> bool:
    """Whether this process is one of several. Does not initialise devices, which may fail."""
    return _several


@contextlib.contextmanager
def ends_at_once() -> Iterator[None]:
    """Ends this process at once after an exception in the block, if it is one of several.

    Otherwise it would wait at exit for the others, which wait for it in the middle of a step. JAX
    ends the others when a connection breaks, or after `HEARTBEAT_TIMEOUT_S`.
    """
    try:
        yield
    except Preempted:
        raise  # all processes raise it together
    except BaseException as error:
        if not several():
            raise
        message = for_the_user(error)
        try:
            if message is not None:
                print(f"error (one of several processes): {message}", file=sys.stderr)
            else:
                traceback.print_exception(error)
                print(
                    "One of several processes ends. If another one ended before it, look for the "
                    "reason there. The same command, started on all hosts, resumes from the last "
                    "checkpoint.",
                    file=sys.stderr,
                )
            sys.stdout.flush()
            sys.stderr.flush()
        finally:  # even if the message could not be printed
            os._exit(1 if message is None else 2)


def agree(facts: Mapping[str, object]) -> None:
    """Compares facts about the run across processes, before any step; every process calls this.

    Args:
      facts: by name; compared as text.

    Raises:
      UserError: on every process, if one differs from process 0 in anything; or if the processes
        have unequally many devices.
    """
    if not several():
        return
    counts = collections.Counter(device.process_index for device in jax.devices())
    if len(counts) < jax.process_count() or len(set(counts.values())) > 1:
        held = ", ".join(f"{counts[i]} in process {i}" for i in range(jax.process_count()))
        raise UserError(f"the processes have unequally many devices: {held}.")
    own = {name: str(value) for name, value in facts.items()}
    # Only where processes differ, all facts are sent: there may be thousands of processes.
    if len(set(gather(zlib.crc32(json.dumps(own, sort_keys=True).encode())))) == 1:
        return
    first, *others = gather(own)
    lines = [
        f"{name}: {first.get(name, 'absent')} in process 0, {other.get(name, 'absent')} in process "
        f"{process}"
        for process, other in enumerate(others, start=1)
        for name in sorted(first.keys() | other.keys())
        if first.get(name) != other.get(name)
    ]
    more = f"\n  … and {len(lines) - 10} more" if lines[10:] else ""
    raise UserError(
        "the processes of this run disagree:\n  "
        + "\n  ".join(lines[:10])
        + more
        + "\nInstall the same versions, prepare the same data and give the same command on all "
        "hosts."
    )


def together(action: Callable[[], T]) -> T:
    """The result of `action` here, if it succeeds on every process; every process calls this.

    Args:
      action: may raise `UserError` or `OSError`, and waits for no other process.

    Raises:
      UserError: on every process, the error of one; a plain `UserError` before its subclasses.
    """
    result, error = None, None
    try:
        result = action()
    except (UserError, OSError) as raised:
        error = raised if isinstance(raised, UserError) else UserError(str(raised))
        if not several():
            raise error from raised
    errors = [error for error in gather(error) if error is not None]
    if errors:
        raise min(errors, key=lambda error: type(error) is not UserError)
    return result


def gather(value: T) -> list[T]:
    """The values of all processes, in their order; every process calls this.

    They travel as pickles: JAX itself gathers arrays of one shape, and casts 64 bits to 32.
    """
    if not several():
        return [value]
    content = np.frombuffer(pickle.dumps(value), np.uint8)
    lengths = multihost_utils.process_allgather(np.int32(len(content)))
    padded = np.zeros(lengths.max(), np.uint8)
    padded[: len(content)] = content
    return [
        pickle.loads(row[:length].tobytes())
        for row, length in zip(multihost_utils.process_allgather(padded), lengths, strict=True)
    ]
