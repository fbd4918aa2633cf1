"""Pre-training as one of several processes, counting what could grow: exchanges, reading, memory.

  python -m tests.counted ARGUMENTS OF amr_jax.pretrain

Its last line is 'counted ' and a JSON object {'start': {…}, 'loop': {…}}: from the beginning to the
first step, and from there to the end. The steps themselves only count on: what is exchanged within
the program of a step is counted by `amr_jax.benchmark.compiled`.
"""

import collections
import dataclasses
import functools
import json
import resource
import runpy
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax._src import distributed as jax_distributed
from jax.experimental import multihost_utils

from amr_jax.data import record_files, records
from amr_jax.run import sharding
from amr_jax.train import step as train_step
from tests import fake_programs

EXCHANGES = (
    "process_allgather",
    "broadcast_one_to_all",
    "sync_global_devices",
    "reached_preemption_sync_point",
)


class Counter:
    """What was counted since the beginning of a phase."""

    def __init__(self):
        self.phases = {}
        self._begin("start")

    def _begin(self, phase: str) -> None:
        self._phase, self._now = phase, collections.Counter()
        self._before = _used()

    def end(self, next_phase: str | None = None) -> None:
        """Ends a phase; the next one begins."""
        used = {name: value - self._before[name] for name, value in _used().items()}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        self.phases[self._phase] = {**self._now, **used, "peak memory (MiB)": peak}
        if next_phase:
            self._begin(next_phase)

    def count_one(self, name: str) -> None:
        self._now[name] += 1

    def count(self, owner, name: str, amount=lambda *args: 1, called: str = "") -> None:
        """Counts the calls of a function from now on, or what `amount` makes of arguments."""
        function = getattr(owner, name)

        def counted(*args, **kwargs):
            self._now[called or name] += amount(*args)
            return function(*args, **kwargs)

        setattr(owner, name, counted)


class Client:
    """JAX's connection to process 0, every call counted."""

    def __init__(self, client, counter: Counter):
        self._client = client
        for name in dir(client):
            if not name.startswith("_"):
                setattr(self, name, getattr(client, name))
                counter.count(self, name, called=f"client: {name}")


def _used() -> dict[str, float]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    io = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return {
        "processor time (s)": round(usage.ru_utime + usage.ru_stime, 2),
        "bytes read": int(io["rchar"]),
        "bytes written": int(io["wchar"]),
    }


def steps_that_count(mesh: jax.sharding.Mesh, counter: Counter) -> Callable:
    """In place of `train_step.make_dispatch`'s: the parameters stay what they are."""

    @functools.partial(jax.jit, donate_argnums=0)
    def on(state, batches, count):
        ones = jax.lax.with_sharding_constraint(jnp.ones(len(batches)), sharding.replicated(mesh))
        return dataclasses.replace(state, step=state.step + count), {"loss": ones}

    def dispatch(state, arrays, batches, seed, count):
        if "start" not in counter.phases:
            counter.end("loop")
        counter.count_one("dispatches")
        return on(state, batches, count)

    return fake_programs.not_compiled(dispatch)


def main() -> None:
    counter = Counter()
    for name in EXCHANGES:
        counter.count(multihost_utils, name)
    counter.count(
        multihost_utils, "process_allgather", lambda tree: np.asarray(tree).nbytes, "bytes offered"
    )
    counter.count(records.Records, "examples", lambda _, rows: len(rows), "sequences read")
    counter.count(record_files, "_measured", lambda _, names: len(names), "files verified")

    # Its connection is known from the first mesh on, and is needed as it is until then.
    make_mesh = sharding.make_mesh

    def mesh(*args):
        made = make_mesh(*args)
        if jax.process_count() > 1:
            client = jax_distributed.global_state.client
            jax_distributed.global_state.client = Client(client, counter)
        return made

    sharding.make_mesh = mesh
    train_step.make_dispatch = lambda *args: steps_that_count(args[-1], counter)
    try:
        runpy.run_module("amr_jax.pretrain", run_name="__main__", alter_sys=True)
    finally:
        counter.end()
        print("counted", json.dumps(counter.phases), flush=True)


if __name__ == "__main__":
    main()
