"""Kills a run of two processes at random moments: it must end in the bits of an undisturbed run.

  python tests/kill_campaign.py [--kills=50] [--seed=0]

A small pre-training run and its evaluation, each in two processes of two devices, on made-up data.
A kill hits one process or both while they start, compile, step, save or evaluate. The other process
must end by itself within a bound; then the same commands start again. Between kills, SIGTERM to one
process stops both, and they save. A kill takes about 15 seconds on two cores.
tests/run/test_kill.py runs a short campaign.
"""

import argparse
import collections
import contextlib
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from amr_jax.evaluate import RESULTS_FILE
from amr_jax.run import checkpoint, checkpoint_step, metrics
from tests import raw_sets
from tests.several_processes import BOUND_S, Run, evaluation, pretraining

STEPS = 300
# Files of an evaluation that contain times or the name of the workdir.
SAY_WHEN = (RESULTS_FILE, metrics.METRICS_FILE, "config.json", "model.safetensors", ".lock")
# Longest time from the beginning of a phase to the kill: anywhere in start-up and evaluation, and
# in the steps so late that some are saved.
LONGEST_WAIT_S = {
    "start-up": 6, "compile": 3, "step": 8, "save": 0.5, "evaluation": 5, "stop": 4
}  # fmt: skip
PHASES = tuple(LONGEST_WAIT_S)
# A checkpoint every third dispatch: five steps are an epoch, 40 sequences in batches of 8.
SETTINGS = {"checkpoint.epochs": 1, "optim.ema_decay": 0.9, "fsdp": 2}
# A line of metrics for each step: a stop within longer ones leaves a line of its own.
SETTINGS |= {"steps_per_dispatch": 1}


class Campaign:
    """The commands and their folders; pre-training takes `steps` steps."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        steps: int = STEPS,
        longest_wait_s: Mapping[str, float] = LONGEST_WAIT_S,
        cache: str | None = None,
        devices: Sequence[int] = (2, 2),
        linear_epochs: int = 20,
        **settings: object,
    ):
        self._folder, self._rng = folder, random.Random(seed)
        self._longest_wait_s = longest_wait_s
        self._settings = {"epochs": steps // 5, **SETTINGS, **settings}
        self._linear_epochs = linear_epochs
        self._cache, self._devices = cache or str(folder / "compiled"), devices
        self._data = raw_sets.tiny_ucla(folder)
        self._number = 0
        self.kills: collections.Counter[str] = collections.Counter()
        self.slowest_end_s = 0.0

    def run(self, name: str, phases: Sequence[str] = (), evaluate: bool = True) -> Path:
        """Both commands from start to end, killed or stopped once in each of `phases`.

        Returns:
          Their folder, of that name.
        """
        folder = self._folder / name
        for phase in phases:
            if phase != "evaluation":
                self._kill_in(phase, self._pretrain(folder), folder)
        _succeed(self._pretrain(folder))
        if evaluate:
            for _ in range(list(phases).count("evaluation")):
                self._kill_in("evaluation", self._evaluate(folder), folder)
            _succeed(self._evaluate(folder))
        return folder

    def _kill_in(self, phase: str, run: Run, folder: Path) -> None:
        moment = self._moment(phase, run, folder)
        while not (moment() or run.is_over()):
            time.sleep(0.003)
        # The run ended before the kill: its result still counts, the kill does not.
        if run.is_over():
            return
        if phase == "stop":
            run.send(signal.SIGTERM, [self._rng.choice((0, 1))])
            assert run.wait(BOUND_S) == [75, 75], run.output()
            self.kills[phase] += 1
            return
        # One of them, or both, the second of them a moment later.
        victims = self._rng.sample((0, 1), self._rng.choice((1, 1, 2)))
        run.send(signal.SIGKILL, victims[:1])
        killed = time.monotonic()
        if victims[1:]:
            time.sleep(self._rng.uniform(0, 0.05))
            run.send(signal.SIGKILL, victims[1:])
        run.wait(BOUND_S)
        self.slowest_end_s = max(self.slowest_end_s, time.monotonic() - killed)
        self.kills[phase] += 1
        reached = checkpoint.has_one(folder / "run") and sorted(
            int(path.name) for path in (folder / "run" / checkpoint.FOLDER).glob("[0-9]*")
            if path.name.isdigit()
        )  # fmt: skip
        print(
            f"{sum(self.kills.values()):3} killed {' and '.join(map(str, victims))} in {phase}; "
            f"all ended {time.monotonic() - killed:.1f} s later; checkpoints {reached or 'none'}",
            flush=True,
        )

    def _moment(self, phase: str, run: Run, folder: Path) -> Callable[[], bool]:
        """A function that is true when the phase has begun and a random time has passed."""
        saves = folder / "run" / checkpoint.FOLDER
        left = _unfinished(saves)
        began = {
            "start-up": lambda: True,
            "compile": lambda: "\nsteps " in run.output(),
            "step": lambda: "compiled in" in run.output(),
            "save": lambda: not left.issuperset(_unfinished(saves)),
            "evaluation": lambda: True,
            "stop": lambda: "compiled in" in run.output(),
        }[phase]
        wait = self._rng.uniform(0, self._longest_wait_s[phase])
        since = None

        def come() -> bool:
            nonlocal since
            if since is None and began():
                since = time.monotonic()
            return since is not None and time.monotonic() - since >= wait

        return come

    def _pretrain(self, folder: Path) -> Run:
        arguments = pretraining(self._data, folder / "run", **self._settings)
        return self._start("amr_jax.pretrain", arguments)

    def _evaluate(self, folder: Path) -> Run:
        arguments = evaluation("linear", self._data, folder / "run", folder / "linear")
        return self._start(
            "amr_jax.evaluate", [*arguments, f"--config.epochs={self._linear_epochs}"]
        )

    def _start(self, module: str, arguments: list[str]) -> Run:
        self._number += 1
        log = self._folder / f"log{self._number:03}"
        return Run(module, arguments, log, devices=self._devices, cache=self._cache)


def _unfinished(saves: Path) -> set[Path]:
    """The files of saves that are in progress, or were left by a kill."""
    while True:
        with contextlib.suppress(FileNotFoundError):  # completed while it was looked at
            return set(saves.glob("*.orbax-checkpoint-tmp*/**/*"))


def _succeed(run: Run) -> None:
    assert run.wait() == [0, 0], run.output(0) + run.output(1)


def differences(one: Path, other: Path) -> list[str]:
    """What differs, bit by bit, between two folders of a campaign."""
    found = []
    states = [_state(folder / "run") for folder in (one, other)]
    for (name, a), (_, b) in zip(*map(_flat, states), strict=True):
        if not np.array_equal(a, b):
            found.append(f"state: {name}")
    courses = [
        [(line["step"], line["loss"]) for line in metrics.read_metrics(folder / "run")]
        for folder in (one, other)
    ]
    if courses[0] != courses[1]:
        found.append("metrics.jsonl: steps or losses")
    files = [path.name for path in (one / "linear").glob("*") if path.is_file()]
    for name in files:
        if name in SAY_WHEN:
            continue
        if (one / "linear" / name).read_bytes() != (other / "linear" / name).read_bytes():
            found.append(f"evaluation: {name}")
    if (one / "linear").exists() and not (other / "linear" / RESULTS_FILE).exists():
        found.append(f"evaluation: no {RESULTS_FILE}")
    return found


def _state(folder: Path) -> dict:
    """The whole state of the newest checkpoint, with optimiser and average."""
    step = checkpoint_step.steps(folder / checkpoint.FOLDER)[0]
    path = folder / checkpoint.FOLDER / str(step)
    return {"last": np.array(step), **checkpoint_step.read(path, lambda stored: stored)}


def _flat(tree: dict, prefix: str = "") -> list[tuple[str, np.ndarray]]:
    items = []
    for key, value in sorted(tree.items()):
        name = f"{prefix}/{key}"
        items += _flat(value, name) if isinstance(value, dict) else [(name, value)]
    return items


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Path(folder), arguments.seed)
        expected = campaign.run("undisturbed")
        phases = [PHASES[i % len(PHASES)] for i in range(arguments.kills)]
        found = differences(expected, campaign.run("killed", phases))
    counts = ", ".join(f"{count} in {phase}" for phase, count in campaign.kills.items())
    print(f"{sum(campaign.kills.values())} kills ({counts}); the survivor of a kill ended within "
          f"{campaign.slowest_end_s:.0f} s")  # fmt: skip
    print("the same bits" if not found else "DIFFERENT:\n  " + "\n  ".join(found))
    return bool(found) or sum(campaign.kills.values()) < arguments.kills


if __name__ == "__main__":
    sys.exit(main())
