"""Runs of several processes on this machine, like hosts of a pod: for tests and campaigns."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests import xla_flags

REPOSITORY = Path(__file__).resolve().parent.parent

MEETING_S = 60
# Within which the rest of a run ends by itself: at once by a broken connection; else by JAX, after
# 60 s without a sign of life (amr_jax/run/distributed.py), or without a meeting at the start.
BOUND_S = 120


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


class Run:
    """One command, started on every "host".

    Args:
      module: 'amr_jax.pretrain' or 'amr_jax.evaluate'.
      arguments: of the command; or one such list for each process, where they are to differ.
      log: each process's output goes to this path with its number behind it.
      devices: of each process; simulated.
      cache: folder of compiled programs.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str] | Sequence[Sequence[str]],
        log: Path,
        processes: int = 2,
        devices: Sequence[int] = (1, 1),
        cache: str | None = None,
    ):
        port = free_port()
        if isinstance(arguments[0], str):
            arguments = [arguments] * processes
        self.logs = [log.with_name(f"{log.name}.{i}") for i in range(processes)]
        self.processes = []
        for i in range(processes):
            place = (f"--coordinator=localhost:{port}", f"--num_processes={processes}",
                     f"--process_id={i}", f"--meeting_timeout={MEETING_S}")  # fmt: skip
            environment = {
                **os.environ,
                "JAX_PLATFORMS": "cpu",
                "XLA_FLAGS": xla_flags.quick(devices[i]),
                "PYTHONUNBUFFERED": "1",
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            }
            if cache:
                environment["JAX_COMPILATION_CACHE_DIR"] = cache
            with self.logs[i].open("w") as output:
                self.processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", module, *arguments[i], *place],
                        cwd=REPOSITORY,
                        env=environment,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                    )
                )

    def output(self, process: int = 0) -> str:
        return self.logs[process].read_text()

    def is_over(self) -> bool:
        return all(process.poll() is not None for process in self.processes)

    def send(self, what: signal.Signals, to: Sequence[int]) -> None:
        for i in to:
            self.processes[i].send_signal(what)

    def wait(self, bound_s: float = 900) -> list[int]:
        """Exit statuses; beyond the bound all are killed, which is an error."""
        deadline = time.monotonic() + bound_s
        try:
            for process in self.processes:
                process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"not over within {bound_s} s:\n{self.output()}") from None
        finally:
            self.send(signal.SIGKILL, [i for i, p in enumerate(self.processes) if p.poll() is None])
        return [process.returncode for process in self.processes]


def pretraining(data_dir: Path | str, folder: Path, **changes: object) -> list[str]:
    """Arguments of a small pre-training run: 10 steps on `tiny_ucla`'s 40 training sequences."""
    config = {
        "data_dir": data_dir, "encoder.num_frames": 24, "encoder.width": 32, "encoder.depth": 1,
        "model.decoder_width": 32, "batch_size": 8, "input.split": "train", "epochs": 2,
        **changes,
    }  # fmt: skip
    return [
        f"--config={REPOSITORY}/configs/amr.py:nwucla,runlocal",
        f"--workdir={folder}",
        *(f"--config.{key}={value}" for key, value in config.items()),
    ]


def evaluation(protocol: str, data_dir: Path | str, pretrained: Path, folder: Path) -> list[str]:
    """Arguments of an evaluation of such a run."""
    return [
        f"--config={REPOSITORY}/configs/{protocol}.py:nwucla,runlocal",
        f"--workdir={folder}",
        f"--config.data_dir={data_dir}",
        f"--config.pretrained={pretrained}",
        "--config.train_split=train",
        "--config.test_split=test",
    ]
