"""One step in a folder of checkpoints: what it stores, and how that is read and verified.

A step holds two items that are written together: `state`, the arrays; and `checksums`, the shape,
dtype and checksum of each array (`amr_jax.run.checksums`). A step from before there were checksums
has only the first; its list of items, which Orbax keeps, shows that.

Reading uses Orbax's handlers, which do not wait for other processes. If one process finds damage,
`distributed.together` raises on all of them, so that none waits for another.
"""

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


class SavedStep:
    """A step as stored; `Damaged` if its files are missing, unreadable or contradict each other.

    Attributes:
      path: the folder of the step.
      arrays: the tree of the state, with shapes and dtypes for arrays.
    """

    def __init__(self, path: epath.Path):
        self.path = path
        self.arrays, self._sums = _reading(path, self._read_metadata)

    def _read_metadata(self) -> tuple[dict, dict[str, str] | None]:
        items = json.loads((self.path / _ITEMS_FILE).read_text())["item_handlers"]
        arrays = ocp.PyTreeCheckpointHandler().metadata(self.path / STATE).tree
        if CHECKSUMS not in items:
            return arrays, None
        rows = ocp.JsonCheckpointHandler().restore(self.path / CHECKSUMS)
        if checksums.described(arrays) != {name: row[0] for name, row in rows.items()}:
            raise ValueError("the arrays are not those that the checksums are of")
        return arrays, {name: row[1] for name, row in rows.items()}

    def on_devices(self, target) -> dict:
        """The verified state in the layout of `target`, abstract arrays; on every process.

        Raises:
          Damaged: on every process.
        """
        arguments = ocp.args.StandardRestore(target)
        restored = distributed.together(
            lambda: _reading(
                self.path,
                lambda: ocp.StandardCheckpointHandler().restore(self.path / STATE, args=arguments),
            )
        )
        sums = checksums.of_tree(restored)
        distributed.together(lambda: self._verify(sums))
        return restored

    def on_host(self, part) -> dict:
        """`part` of `arrays` as numpy arrays, verified."""
        arguments = ocp.args.PyTreeRestore(
            item=jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), part),
            restore_args=jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), part),
            partial_restore=True,
        )
        restored = _reading(
            self.path,
            lambda: ocp.PyTreeCheckpointHandler().restore(self.path / STATE, args=arguments),
        )
        self._verify(checksums.of_tree(restored))
        return restored

    def _verify(self, sums: dict[str, str]) -> None:
        """Raises `Damaged` unless arrays with these checksums were saved."""
        if self._sums is None:
            console.say(f"note: {self.path} is older than checksums: it cannot be verified.")
            return
        wrong = sorted(name for name in sums if self._sums.get(name) != sums[name])
        if wrong:
            more = f" and {len(wrong) - 3} more" if wrong[3:] else ""
            raise Damaged(self.path, f"other bits than were saved in {', '.join(wrong[:3])}{more}")


def _reading(path: epath.Path, read: Callable[[], T]) -> T:
    """The result of `read`; any error that Orbax, TensorStore or JSON raise becomes one of two.

    Raises:
      UserError: it could not be read now.
      Damaged: the files are damaged.
    """
    try:
        return read()
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
