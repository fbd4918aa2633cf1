"""One step in a folder of checkpoints: what is stored, read back and verified.

A step holds two items, written together: `state`, the arrays; and `checksums`, for each array its
shape, dtype and checksum (`amr_jax.run.checksums`). It is complete only with both. Steps of before
there were checksums have the first alone, which shows in the list of items that Orbax keeps.

Reading goes through Orbax's handlers, which do not wait for other processes: where one process
meets damage and others don't, all have to hear of it (`on_all_processes`), or they would wait.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from typing import TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from amr_jax.errors import UserError
from amr_jax.run import checksums, console, distributed

STATE, CHECKSUMS = "state", "checksums"

_ITEMS_FILE = "_CHECKPOINT_METADATA"  # Orbax's list of the items of a step

# Not damage of the files: what the machine, its network or its rights are short of.
_TROUBLE = (MemoryError, PermissionError, ConnectionError, TimeoutError)
_TROUBLE_NAMES = (
    "RESOURCE_EXHAUSTED",
    "UNAVAILABLE",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "DEADLINE_EXCEEDED",
    "CANCELLED",
    "Too many open files",
    "Stale file handle",
)

_UNREADABLE, _DAMAGED = "unreadable: ", "damaged: "

T = TypeVar("T")


class Damaged(Exception):
    """The content of a step is not what was saved: `path` and `reason`."""

    def __init__(self, path: epath.Path, reason: str):
        self.path, self.reason = path, reason
        super().__init__(f"{path}: this checkpoint is damaged ({reason}).")


@dataclasses.dataclass(frozen=True)
class Kept:
    """What a step says of itself.

    Attributes:
      path: its folder.
      arrays: the tree of the state, with shapes and dtypes for arrays.
      checksums: of each array, by name; None where the step is older than checksums.
    """

    path: epath.Path
    arrays: dict
    checksums: dict[str, str] | None


def arguments(tree) -> ocp.args.Composite:
    """What Orbax is to save of a state's tree: a global one, and then on every process."""
    described, sums = checksums.described(tree), checksums.of_tree(tree)
    rows = {name: [described[name], sums[name]] for name in sums}
    return ocp.args.Composite(
        **{STATE: ocp.args.StandardSave(tree), CHECKSUMS: ocp.args.JsonSave(rows)}
    )


def steps(folder: epath.Path) -> list[int]:
    """The steps of which there is a complete checkpoint, ascending; [] without such a folder."""
    return sorted(ocp.utils.checkpoint_steps(folder))


def kept(path: epath.Path) -> Kept:
    """What there is in a step's folder, without its arrays.

    Raises:
      Damaged: files that are missing or unreadable, or contradict each other.
    """

    def read():
        items = json.loads((path / _ITEMS_FILE).read_text())["item_handlers"]
        arrays = ocp.PyTreeCheckpointHandler().metadata(path / STATE).tree
        described, rows = checksums.described(arrays), None
        if CHECKSUMS in items:
            rows = ocp.JsonCheckpointHandler().restore(path / CHECKSUMS)
            if described != {name: row[0] for name, row in rows.items()}:
                raise ValueError("the arrays are not those that the checksums are of")
            rows = {name: row[1] for name, row in rows.items()}
        return Kept(path, arrays, rows)

    return _reading(path, read)


def on_devices(step: Kept, target) -> dict:
    """The whole state, verified, laid out as `target`, abstract arrays, says; on every process.

    Raises:
      Damaged: on every process alike.
    """
    arguments = ocp.args.StandardRestore(target)
    restored = on_all_processes(
        step.path,
        lambda: _reading(
            step.path,
            lambda: ocp.StandardCheckpointHandler().restore(step.path / STATE, args=arguments),
        ),
    )
    sums = checksums.of_tree(restored)
    on_all_processes(step.path, lambda: _verify(step, sums))
    return restored


def on_host(step: Kept, part) -> dict:
    """`part` of `step.arrays`, verified, as numpy arrays; raises `Damaged`."""
    arguments = ocp.args.PyTreeRestore(
        item=jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), part),
        restore_args=jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), part),
        partial_restore=True,
    )
    restored = _reading(
        step.path,
        lambda: ocp.PyTreeCheckpointHandler().restore(step.path / STATE, args=arguments),
    )
    _verify(step, checksums.of_tree(restored))
    return restored


def on_all_processes(path: epath.Path, action: Callable[[], T]) -> T:
    """What `action` returns here, if it succeeds on every process; else every process raises.

    Args:
      path: the step's folder.
      action: may raise `UserError` or `Damaged`, and waits for no other process.

    Raises:
      UserError: some process could not read, and so knows nothing of damage.
      Damaged: some process found damage.
    """
    if not distributed.several():
        return action()
    result, verdict = None, ""
    try:
        result = action()
    except UserError as error:
        verdict = f"{_UNREADABLE}{error}"
    except Damaged as error:
        verdict = f"{_DAMAGED}{error.reason}"
    verdicts = distributed.texts(verdict)
    for told in verdicts:
        if told.startswith(_UNREADABLE):
            raise UserError(told.removeprefix(_UNREADABLE))
    for process, told in enumerate(verdicts):
        if told.startswith(_DAMAGED):
            raise Damaged(path, f"{told.removeprefix(_DAMAGED)}; on process {process}")
    return result


def _verify(step: Kept, sums: dict[str, str]) -> None:
    """Raises `Damaged` unless arrays of these checksums were saved; a part of them may be given."""
    if step.checksums is None:
        console.say(f"note: {step.path} is older than checksums: it cannot be verified.")
        return
    saved = {name: step.checksums.get(name) for name in sums}
    wrong = sorted(name for name in sums if saved[name] != sums[name])
    if wrong:
        raise Damaged(step.path, f"other bits than were saved in {_listed(wrong)}")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _reading(path: epath.Path, read: Callable[[], T]) -> T:
    """What `read` returns; whatever Orbax, tensorstore and JSON make of bad files, as one error."""
    try:
        return read()
    except Exception as error:
        causes = list(_causes(error))
        reason = f"{type(causes[-1]).__name__}: {message(causes[-1])}"
        if any(_is_trouble(cause) for cause in causes):
            raise UserError(
                f"{path}: this checkpoint could not be read now ({reason}). It need not be "
                "damaged, and was left as it is; mend that and start the same command again."
            ) from error
        raise Damaged(path, reason) from error


def message(error: BaseException) -> str:
    """The first line of what it says, without the page that TensorStore adds."""
    text = re.split(r" See full TensorStore details| \[tensorstore_spec=", str(error))[0].strip()
    return text.splitlines()[0] if text else repr(error)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__


def _is_trouble(error: BaseException) -> bool:
    return isinstance(error, _TROUBLE) or any(name in str(error) for name in _TROUBLE_NAMES)
