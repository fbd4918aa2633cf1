"""One run on several hosts: who they are, that they agree, and how one of them ends.

The engine is `jax.distributed`. It is started where there is more than one process, and only there:
by the flags of a command, by SLURM or Open MPI, or on the hosts of a TPU slice.
"""

import collections
import contextlib
import importlib.util
import json
import os
import socket
import sys
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from amr_jax.errors import Preempted, UserError, for_the_user

# Seconds without a sign of life after which JAX takes a process for dead, and ends the others.
HEARTBEAT_TIMEOUT_S = 60
# Seconds in which all processes must have met at the start, if a flag does not say otherwise, and
# at the end.
MEETING_TIMEOUT_S = 300

# Several slices, or a slice of several hosts, as Kubernetes says it to each of them.
_TPU_HOSTS = ("TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES")
# Whether this process has met others.
_several = False

_METADATA = "http://metadata.google.internal/computeMetadata/v1/instance/attributes/"


def start(
    coordinator: str | None,
    num_processes: int | None,
    process_id: int | None,
    meeting_timeout_s: int | None = None,
    saves_when_preempted: bool = False,
) -> None:
    """Makes this process one of a run of several, if there are several.

    To be called before anything asks JAX for its devices. The arguments are all given, or none:
    then SLURM, Open MPI or the TPU slice say whether there are several, and JAX who is who.

    Args:
      coordinator: HOST:PORT of process 0, at which all meet.
      num_processes: of the run.
      process_id: of this one, from 0.
      meeting_timeout_s: how long the processes wait for each other here, if not
        `MEETING_TIMEOUT_S`.
      saves_when_preempted: SIGTERM is JAX's, for `run.preemption`; else it ends the process.

    Raises:
      UserError: a part of the arguments, wrong ones, or the processes did not meet.
    """
    jax.config.update("jax_enable_preemption_service", saves_when_preempted)
    meeting_timeout_s = meeting_timeout_s or MEETING_TIMEOUT_S
    given = {"coordinator": coordinator, "num_processes": num_processes, "process_id": process_id}
    missing = [f"--{name}" for name, value in given.items() if value is None]
    if not missing:
        if not 0 <= process_id < num_processes or ":" not in coordinator:
            raise UserError(
                f"--coordinator={coordinator} --num_processes={num_processes} "
                f"--process_id={process_id}: expected HOST:PORT of process 0, how many processes "
                "the run has, and which of them this one is, from 0."
            )
        if num_processes == 1:
            return
        _initialise(
            meeting_timeout_s,
            coordinator_address=coordinator,
            num_processes=num_processes,
            process_id=process_id,
            local_device_ids=[],
        )
    elif len(missing) < len(given):
        raise UserError(
            f"{', '.join(missing)}: missing. --coordinator, --num_processes and --process_id are "
            "given together, or none of them (SLURM, Open MPI and TPU slices are recognised)."
        )
    elif (arguments := found(os.environ)) is not None:
        _initialise(meeting_timeout_s, **arguments)


def found(environ: Mapping[str, str]) -> dict | None:
    """Arguments for `jax.distributed.initialize` where the surroundings say that there are several.

    None for a single process. JAX completes what is not among the arguments.
    """
    if "SLURM_STEP_NODELIST" in environ:  # a step: within `srun`
        tasks = int(environ.get("SLURM_STEP_NUM_TASKS", environ.get("SLURM_NTASKS", "1")))
        return {"num_processes": tasks, **_devices_of_task(environ)} if tasks > 1 else None
    if int(environ.get("OMPI_COMM_WORLD_SIZE", "1")) > 1:
        return {}
    if int(environ.get("MEGASCALE_NUM_SLICES") or "1") > 1:
        return {}
    hosts = next((environ[name] for name in _TPU_HOSTS if environ.get(name)), None)
    if hosts is None and _may_have_tpu(environ):
        hosts = _metadata("worker-network-endpoints")
    return {} if hosts and "," in hosts else None


def _devices_of_task(environ: Mapping[str, str]) -> dict:
    """Which GPUs are this SLURM task's: JAX would give every task one, the node's only task too."""
    visible = environ.get("CUDA_VISIBLE_DEVICES", "")
    alone = environ.get("SLURM_STEP_TASKS_PER_NODE", "").partition("(")[0] == "1"
    # SLURM has given each task its own already, or there is none to share with: all it sees.
    return {"local_device_ids": []} if alone or (visible and "," not in visible) else {}


def _may_have_tpu(environ: Mapping[str, str]) -> bool:
    """Whether this is a machine with TPU chips and the library for them."""
    if "TPU_SKIP_MDS_QUERY" in environ or environ.get("JAX_PLATFORMS", "tpu") not in ("tpu", ""):
        return False
    chips = epath.Path("/dev/accel0").exists() or epath.Path("/dev/vfio").exists()
    return chips and importlib.util.find_spec("libtpu") is not None


def _metadata(key: str) -> str | None:
    """What Google's servers say to a TPU VM about itself; None: it is none, or has no such key.

    Raises:
      UserError: they do not answer. To go on alone would leave the other hosts waiting.
    """
    request = urllib.request.Request(_METADATA + key, headers={"Metadata-Flavor": "Google"})
    for _ in range(3):
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            reason = error
        except OSError as error:  # URLError and what is raised while the answer is read
            if isinstance(getattr(error, "reason", None), socket.gaierror):
                return None  # no such name: not in Google's cloud
            reason = error
        time.sleep(1)
    raise UserError(
        f"{_METADATA}{key}: no answer ({reason}), so how many hosts the TPU slice has is not "
        "known. Try again; or say it with --coordinator, --num_processes and --process_id."
    )


def _initialise(timeout_s: int, **arguments) -> None:
    global _several
    try:
        jax.distributed.initialize(
            **arguments,
            initialization_timeout=timeout_s,
            heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT_S,
            shutdown_timeout_seconds=MEETING_TIMEOUT_S,
        )
    except (RuntimeError, ValueError) as error:  # gRPC's and JAX's own
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"the processes of this run did not meet within {timeout_s} s: {reason}\n"
            "Start the same command on all hosts; process 0 must be reachable from the others."
        ) from error
    _several = True


def several() -> bool:
    """Whether this process is one of several. Does not wake JAX's devices, which may fail."""
    return _several


@contextlib.contextmanager
def ends_at_once() -> Iterator[None]:
    """Ends this process with what goes wrong in the block, if it is one of several.

    Otherwise it would wait at its end for the others, which wait for it in the middle of a step.
    They end in turn: at once by a connection that breaks, or after `HEARTBEAT_TIMEOUT_S`, by JAX.
    """
    try:
        yield
    except Preempted:
        raise  # all processes end so, together
    except BaseException as error:
        if not several():
            raise
        told = for_the_user(error)
        try:
            if told is not None:
                print(f"error (one of several processes): {told}", file=sys.stderr)
            else:
                traceback.print_exception(error)
                print(
                    "One of several processes ends. If another one ended before it, look for the "
                    "reason there. The same command, started on all hosts, goes on from what is "
                    "saved.",
                    file=sys.stderr,
                )
            sys.stdout.flush()
            sys.stderr.flush()
        finally:  # whatever becomes of the message
            os._exit(1 if told is None else 2)


def meet(name: str) -> None:
    """Returns when every process has come here, under the same name."""
    if several():
        multihost_utils.sync_global_devices(name)


def agree(facts: Mapping[str, object]) -> None:
    """Compares what each process knows of the run, before any step.

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
    first = json.loads(of_first(json.dumps(own)))
    differing = [
        f"{name}: {first.get(name, 'absent')} in process 0, {own.get(name, 'absent')} in process "
        f"{jax.process_index()}"
        for name in sorted(first.keys() | own.keys())
        if first.get(name) != own.get(name)
    ]
    # Nobody says anything where all agree, however many they are.
    told = texts(json.dumps(differing) if differing else "")
    if lines := [line for text in told if text for line in json.loads(text)]:
        more = f"\n  … and {len(lines) - 10} more" if len(lines) > 10 else ""
        raise UserError(
            "the processes of this run disagree:\n  "
            + "\n  ".join(lines[:10])
            + more
            + "\nInstall the same versions, prepare the same data and give the same command on all "
            "hosts."
        )


def of_first(text: str) -> str:
    """The text of process 0; every process has to call."""
    if not several():
        return text
    row = np.frombuffer(text.encode(), np.uint8)
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(row))))
    if not length:
        return ""
    own = row if jax.process_index() == 0 else np.zeros(length, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(own), np.uint8).tobytes().decode()


def texts(text: str) -> list[str]:
    """The text of every process, in their order; every process has to call."""
    return [row.tobytes().decode() for row in rows(np.frombuffer(text.encode(), np.uint8))]


def rows(array: np.ndarray) -> list[np.ndarray]:
    """The array of every process, in their order, bit by bit; every process has to call.

    Args:
      array: (n, …), n differing from process to process, all else alike.
    """
    if not several():
        return [array]
    counts = multihost_utils.process_allgather(np.int32(len(array)))
    if not counts.any():
        return [array] * len(counts)
    # As bytes: JAX would make 32 bits of 64.
    width = array.dtype.itemsize * int(np.prod(array.shape[1:]))
    padded = np.zeros(int(counts.max()) * width, np.uint8)
    padded[: array.nbytes] = np.frombuffer(array.tobytes(), np.uint8)
    gathered = multihost_utils.process_allgather(padded)
    return [
        np.frombuffer(row[: count * width].tobytes(), array.dtype).reshape(count, *array.shape[1:])
        for row, count in zip(gathered, counts, strict=True)
    ]
