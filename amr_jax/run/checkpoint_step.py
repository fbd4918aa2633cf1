"""One step in a folder of checkpoints: what it stores, and how that is read and verified.

A step holds two items that are written together: `state`, the arrays; and `checksums`, the shape,
dtype and checksum of each array (`amr_jax.run.checksums`).

Reading uses Orbax's handlers, which do not wait for other processes. If one process finds damage,
`distributed.together` raises on all of them, so that none waits for another.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import TypeVar

import jax
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_utils

from amr_jax.errors import UserError
from amr_jax.run import checksums, console, distributed

STATE, CHECKSUMS = "state", "checksums"
_ITEMS_FILE = "_CHECKPOINT_METADATA"  # Orbax lists the items of a step in it

# Errors of the machine, its network or its permissions: the files need not be damaged.
_TEMPORARY = (MemoryError, PermissionError, ConnectionError, TimeoutError)
_TEMPORARY_NAMES = (
    "RESOURCE_EXHAUSTED",
    "UNAVAILABLE",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "DEADLINE_EXCEEDED",
    "CANCELLED",
    "Too many open files",
    "Stale file handle",
)

T = TypeVar("T")


class Damaged(UserError):
    """A step does not hold what was saved."""

    def __init__(self, path: epath.Path, reason: str):
        self.path, self.reason = path, reason
        super().__init__(f"{path}: this checkpoint is damaged ({reason}).")

    def __reduce__(self):  # `distributed.together` sends it to other processes
        return Damaged, (self.path, self.reason)


def save_arguments(tree) -> ocp.args.Composite:
    """The items of a step for a tree of arrays; a collective if the arrays are global."""
    described, sums = checksums.described(tree), checksums.of_tree(tree)
    rows = {name: [described[name], sums[name]] for name in sums}
    return ocp.args.Composite(
        **{STATE: ocp.args.StandardSave(tree), CHECKSUMS: ocp.args.JsonSave(rows)}
    )


def steps(folder: epath.Path) -> list[int]:
    """The complete steps in a folder of checkpoints, newest first; [] without the folder."""
    return sorted(ocp.utils.checkpoint_steps(folder), reverse=True)


def read(path: epath.Path, choose: Callable[[dict], dict], on_devices: bool = False) -> dict:
    """The verified arrays of a step, or a part of them.

    Args:
      path: the folder of the step.
      choose: the arrays that are stored, with shapes and dtypes -> the tree to read; may refuse.
      on_devices: whether the tree to read has shardings: the result are global arrays, and every
        process calls this. Else they are numpy arrays.

    Raises:
      Damaged: files are missing, unreadable or contradict each other; on every process of a
        collective call.
      UserError: by `choose`; or the files could not be read now.
    """

    def here() -> tuple[dict, dict[str, list[str]] | None]:
        stored = ocp.PyTreeCheckpointHandler().metadata(path / STATE).tree
        items = json.loads((path / _ITEMS_FILE).read_text())["item_handlers"]
        rows = None
        if CHECKSUMS in items:
            rows = ocp.JsonCheckpointHandler().restore(path / CHECKSUMS)
            if checksums.described(stored) != {name: row[0] for name, row in rows.items()}:
                raise ValueError("the arrays are not those that the checksums are of")
        target = choose(stored)
        if not on_devices:
            target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), target)
        arguments = ocp.args.PyTreeRestore(
            item=target,
            restore_args=checkpoint_utils.construct_restore_args(target),
            partial_restore=True,
        )
        return ocp.PyTreeCheckpointHandler().restore(path / STATE, args=arguments), rows

    together = distributed.together if on_devices else lambda action: action()
    arrays, rows = together(lambda: _reading(path, here))
    if rows is None:
        console.say(f"note: {path} was saved without checksums, so it cannot be verified.")
        return arrays
    sums = checksums.of_tree(arrays)
    wrong = sorted(name for name in sums if rows[name][1] != sums[name])
    if wrong:
        more = f" and {len(wrong) - 3} more" if wrong[3:] else ""
        raise Damaged(path, f"other bits than were saved in {', '.join(wrong[:3])}{more}")
    return arrays


def _reading(path: epath.Path, action: Callable[[], T]) -> T:
    """The result of `action`; any error that Orbax, TensorStore or JSON raise becomes one of two.

    Raises:
      UserError: it could not be read now.
      Damaged: the files are damaged.
    """
    try:
        return action()
    except UserError:
        raise
    except Exception as error:
        causes = list(_causes(error))
        reason = f"{type(causes[-1]).__name__}: {first_line(causes[-1])}"
        if any(map(_is_temporary, causes)):
            raise UserError(
                f"{path}: this checkpoint could not be read now ({reason}). It need not be "
                "damaged, and was left as it is. Remove the cause and start the same command again."
            ) from error
        raise Damaged(path, reason) from error


def first_line(error: BaseException) -> str:
    """The first line of an error's message, without the page that TensorStore adds."""
    text = re.split(r" See full TensorStore details| \[tensorstore_spec=", str(error))[0].strip()
    return text.splitlines()[0] if text else repr(error)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and the errors it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__


def _is_temporary(error: BaseException) -> bool:
    return isinstance(error, _TEMPORARY) or any(name in str(error) for name in _TEMPORARY_NAMES)
