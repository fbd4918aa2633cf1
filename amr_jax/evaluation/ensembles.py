"""Ensembles of scores: the softmax of several classifiers, weighted and summed."""

import json
import math
import os
from collections.abc import Sequence

import numpy as np
from etils import epath

from amr_jax.errors import UserError
from amr_jax.evaluation import score_file
from amr_jax.evaluation.accuracy import accuracies
from amr_jax.evaluation.results import RESULTS_FILE
from amr_jax.run import lock, paths, workdir


def run(
    folders: Sequence[os.PathLike | str], weights: Sequence[float], folder: os.PathLike | str
) -> dict:
    """Combines the scores of several evaluations and writes results.json.

    Args:
      folders: workdirs of the members.
      weights: one per member.
      folder: workdir of the ensemble, made if absent.

    Returns:
      The content of results.json: `encoders` as in an evaluation, and `members`.

    Raises:
      UserError: scores that are missing or of another test split; wrong weights.
    """
    folders = [paths.absolute(member) for member in folders]
    folder = paths.absolute(folder)
    _check(folders, weights, folder)
    members = [score_file.read(member) for member in folders]
    first = members[0]
    orders = [matched(first, member, where) for member, where in zip(members, folders, strict=True)]
    encoders = [name for name in first.logits if all(name in m.logits for m in members)]
    if not encoders:
        raise UserError(
            f"{folders[0] / score_file.FILE}: no encoder in it is in all the other files."
        )

    results = {"protocol": "ensemble", "encoders": {}, "members": []}
    for where, weight in zip(folders, weights, strict=True):
        results["members"].append({"workdir": str(where), "weight": weight, "encoders": {}})
    for encoder in encoders:
        logits = [m.logits[encoder][order] for m, order in zip(members, orders, strict=True)]
        for member, own in zip(results["members"], logits, strict=True):
            member["encoders"][encoder] = accuracies(own, first.labels)
        results["encoders"][encoder] = accuracies(mean_softmax(logits, weights), first.labels)
    results |= {
        "test_sequences": len(first.names),
        "num_classes": len(first.class_names),
        **workdir.provenance(),
    }
    with lock.hold(folder):
        workdir.write(folder / RESULTS_FILE, json.dumps(results, indent=2, allow_nan=False) + "\n")
    return results


def _check(folders: Sequence[epath.Path], weights: Sequence[float], folder: epath.Path) -> None:
    """Raises `UserError` for arguments that do not fit together."""
    if len(folders) < 2:
        raise UserError(f"found {len(folders)} workdirs of evaluations; expected at least two.")
    check_weights("--weights", weights, len(folders))
    if (folder / workdir.CONFIG_FILE).exists() and folder not in folders:
        raise UserError(
            f"--workdir={folder}: the workdir of a run; expected a folder of its own for an "
            f"ensemble, such as --workdir={folder / 'ensemble'}. Nothing was changed."
        )
    if folder in folders:
        raise UserError(f"--workdir={folder} is a member; expected another folder.")


def check_weights(name: str, weights: Sequence[float], count: int) -> None:
    """Raises `UserError` for weights that are not `count` numbers from 0; `name` is their name."""
    shown = ",".join(map(str, weights))
    if len(weights) != count:
        raise UserError(f"{name}={shown}: found {len(weights)}; expected {count}, one per member.")
    if not all(0 <= weight < math.inf for weight in weights) or not sum(weights):
        raise UserError(f"{name}={shown}: expected 0 or more, and not all 0.")


def mean_softmax(logits: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Weighted mean (S, K) float64 of the softmax of each logits (S, K)."""
    total = 0.0
    for own, weight in zip(logits, weights, strict=True):
        own = np.float64(own)
        e = np.exp(own - own.max(axis=1, keepdims=True))
        total = total + weight * e / e.sum(axis=1, keepdims=True)
    return total / sum(weights)


def matched(first: score_file.Scores, other: score_file.Scores, where: epath.Path) -> np.ndarray:
    """Rows (S,) of `other` in the order of `first`, matched by the names of the sequences.

    Raises:
      UserError: other sequences, classes or labels; the message names the file in `where`.
    """
    path = where / score_file.FILE
    if other.class_names != first.class_names:
        raise UserError(
            f"{path}: found the classes {_few(other.class_names)}; expected those of the first "
            f"workdir, {_few(first.class_names)}."
        )
    row = {name: i for i, name in enumerate(other.names.tolist())}
    missing = [name for name in first.names.tolist() if name not in row]
    if missing or len(row) != len(first.names):
        absent = f", without {_few(missing)}" if missing else ""
        raise UserError(
            f"{path}: found {len(row)} sequences{absent}; expected the {len(first.names)} of the "
            "first workdir. Evaluate all members on the same test split."
        )
    order = np.array([row[name] for name in first.names.tolist()])
    differ = np.flatnonzero(other.labels[order] != first.labels)
    if len(differ):
        i = differ[0]
        raise UserError(
            f"{path}: {first.names[i]} has label {other.labels[order][i]}; expected "
            f"{first.labels[i]}, as in the first workdir ({len(differ)} labels differ)."
        )
    return order


def _few(names: Sequence[str]) -> str:
    """The first three names, and the number of the others."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(str, names[:3])) + more
