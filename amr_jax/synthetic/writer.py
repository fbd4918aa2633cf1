"""Writes the folder of `.skeleton` files, complete or not at all."""

import contextlib
import functools
import json
import multiprocessing
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from amr_jax.errors import UserError
from amr_jax.run.console import progress_bar
from amr_jax.synthetic import sensor, skeleton_file
from amr_jax.synthetic.actions import ACTIONS
from amr_jax.synthetic.performance import NUM_PERFORMERS, Take, perform

NUM_SETUPS = 17  # as in NTU RGB+D 60
MAX_TAKES = 2 * NUM_SETUPS
CAMERAS = (1, 2, 3)
SETTINGS_FILE = "synthetic.json"
VERSION = 1  # of the generated data; increase it if the same settings give other bytes

# Alternates between the sides of x-sub (train 1, 2, 4, 5, 8, 9; test 3, 6, 7, 10), so that two
# performers suffice for both splits; ten performers are 1 to 10.
PERFORMERS = (1, 3, 2, 6, 4, 7, 5, 10, 8, 9, *range(11, NUM_PERFORMERS + 1))


def plan(performers: int, takes: int, actions: Iterable[int]) -> list[Take]:
    """The takes of a set: every performer does every action `takes` times.

    Takes 2k and 2k + 1 are the two replications in one setup; each pair is in another setup.
    """
    return [
        Take((performer - 1 + 3 * (take // 2)) % NUM_SETUPS + 1, performer, take % 2 + 1, action)
        for performer in PERFORMERS[:performers]
        for take in range(takes)
        for action in actions
    ]


def _write_take(folder: Path, seed: int, cameras: Sequence[int], take: Take) -> None:
    people = perform(seed, take)
    for camera in cameras:
        text = skeleton_file.text(*sensor.record(seed, take, camera, people))
        (folder / take.file_name(camera)).write_bytes(text)


def _settings(seed, performers, takes, actions, cameras) -> dict:
    """Everything that determines the bytes of a set."""
    return {
        "seed": seed,
        "performers": performers,
        "takes": takes,
        "actions": list(actions),
        "cameras": list(cameras),
        "version": VERSION,
    }


def _check(seed: int, performers: int, takes: int, actions, cameras) -> None:
    if seed < 0:
        raise UserError(f"seed is {seed}; expected 0 or more.")
    if not 1 <= performers <= NUM_PERFORMERS:
        raise UserError(f"performers is {performers}; expected 1 to {NUM_PERFORMERS}.")
    if not 1 <= takes <= MAX_TAKES:
        raise UserError(f"takes is {takes}; expected 1 to {MAX_TAKES}.")
    for name, found, known in (("actions", actions, ACTIONS), ("cameras", cameras, CAMERAS)):
        if not found or len(set(found)) < len(found) or not set(found) <= set(known):
            raise UserError(f"{name} are {list(found)}; expected some of {list(known)}, each once.")


def _already_there(out: Path, settings: dict) -> bool:
    """Whether `out` holds exactly this set; raises `UserError` for any other content."""
    if not out.exists():
        return False
    if not out.is_dir():
        raise UserError(f"{out} is a file; expected a folder to write, or none yet.")
    if not any(out.iterdir()):
        return False
    try:
        # amr_jax 0.1.0 wrote no version.
        found = {"version": 1, **json.loads((out / SETTINGS_FILE).read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError):
        raise UserError(
            f"{out} holds other files (and no {SETTINGS_FILE} of this command); expected a new or "
            "an empty folder. Nothing was written: choose another folder."
        ) from None
    different = [key for key in settings if found.get(key) != settings[key]]
    if different:
        raise UserError(
            f"{out} holds a synthetic set made with other {' and '.join(different)}. Nothing was "
            "written: remove that folder, or choose another."
        )
    return True


def write(
    out: str | os.PathLike,
    *,
    seed: int = 0,
    performers: int = 10,
    takes: int = 2,
    actions: Sequence[int] = tuple(ACTIONS),
    cameras: Sequence[int] = CAMERAS,
    num_workers: int | None = None,
) -> bool:
    """Writes `performers` × `takes` × actions × cameras files into the folder `out`.

    The same settings give the same bytes, for any number of workers. The folder appears when it is
    complete. If it already holds this set, nothing is written.

    Args:
      out: new or empty folder.
      seed: of all random numbers.
      performers: number of subjects, 1 to 40. The first is on the training side of x-sub, the
        second on the test side, and so on.
      takes: number of times that each of them does each action.
      actions: ids of NTU RGB+D 60 that are in `actions.ACTIONS`.
      cameras: of 1 to 3.
      num_workers: processes; 0 or 1: this one. Default: one per core, this one for a small set.

    Returns:
      False if the set was already there.

    Raises:
      UserError: a setting out of range, another content of `out`, or a full or read-only disk.
    """
    _check(seed, performers, takes, actions, cameras)
    out = Path(out).absolute()  # '.' has no name
    settings = _settings(seed, performers, takes, actions, cameras)
    if _already_there(out, settings):
        return False
    folder = out.with_name(f".{out.name}.incomplete")
    work = plan(performers, takes, actions)
    if num_workers is None:
        num_workers = len(os.sched_getaffinity(0)) if len(work) >= 200 else 0
    try:
        shutil.rmtree(folder, ignore_errors=True)  # left by a killed process
        folder.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"cannot write to {out.parent}: {error.strerror}.") from error
    try:
        task = functools.partial(_write_take, folder, seed, cameras)
        with contextlib.ExitStack() as stack:
            advance = stack.enter_context(progress_bar("writing takes", len(work)))
            done = map(task, work)
            if num_workers > 1:
                # Not fork: the caller may hold threads (JAX does).
                pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(num_workers))
                done = pool.imap_unordered(task, work, chunksize=16)
            for _ in done:
                advance(1)
        (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=1) + "\n", "utf-8")
        folder.replace(out)
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror}. Nothing is left there.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return True
