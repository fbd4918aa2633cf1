"""Sets a part of a data set aside for testing, where its files name no splits.

Names decide: neither the order of the files nor the machine matters.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from amr_jax.errors import UserError

_NAMES_SUBJECTS = "a `subject` in each file or row of labels.csv, or in none"


def set_aside(examples: list[dict], found: list[str], fraction: float, seed: int) -> str:
    """Replaces the `splits` of all examples by 'train' or 'test', and tells the user.

    Args:
      examples: with `name`, `label` as a number, `subject` and `splits`.
      found: the names of all splits in the files.
      fraction, seed: see `choose`.

    Returns:
      What is set aside as a whole, 'subject' or 'sequence'.

    Raises:
      UserError: the files name splits; or see `choose`.
    """
    if len(found) > 1 or not all(bool(example["splits"]) == bool(found) for example in examples):
        raise UserError(
            f"--test_fraction is for sequences without splits; these have: {', '.join(found)}. "
            "Remove it, or the splits from the files and labels.csv."
        )
    columns = ([example[key] for example in examples] for key in ("name", "label", "subject"))
    test, split_by = choose(*columns, fraction, seed)
    for example, is_test in zip(examples, test, strict=True):
        example["splits"] = ("test",) if is_test else ("train",)
    whole = ""
    if split_by == "subject":
        names = sorted({e["subject"] for e in examples if "test" in e["splits"]})
        shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
        whole = f", all those of the subjects {shown}"
    print(
        f"note: {test.sum():,} of {len(test):,} sequences are for testing{whole} "
        f"(--test_fraction={fraction:g} --split_seed={seed})."
    )
    return split_by


def choose(
    names: Sequence[str],
    labels: Sequence[int],
    subjects: Sequence[str],
    fraction: float,
    seed: int,
) -> tuple[np.ndarray, str]:
    """Chooses the sequences to test on.

    If subjects are known, they are set aside as a whole; else each class gives its share.

    Args:
      names: of the sequences, all different.
      labels: their classes, from 0.
      subjects: who acts in them; '' if unknown.
      fraction: of the sequences, between 0 and 1; met as closely as the groups allow.
      seed: another seed gives another choice.

    Returns:
      (S,) bool, whether each sequence is for testing; and 'subject' or 'sequence'.

    Raises:
      UserError: only some subjects are known, or nothing can be set aside.
    """
    classes = np.unique(labels, return_inverse=True)[1]
    unknown = [name for name, subject in zip(names, subjects, strict=True) if not subject]
    if len(unknown) == len(names):
        return _by_sequence(names, classes, fraction, seed), "sequence"
    if unknown:
        raise UserError(
            f"--test_fraction: {len(unknown)} of {len(names)} sequences have no subject, the first "
            f"is {unknown[0]}; expected {_NAMES_SUBJECTS}."
        )
    if len(set(subjects)) == 1:
        raise UserError(
            f"--test_fraction: all sequences are of the subject {subjects[0]!r}; expected several, "
            f"because whole subjects are set aside, or {_NAMES_SUBJECTS}."
        )
    return _by_subject(subjects, classes, fraction, seed), "subject"


def _by_sequence(
    names: Sequence[str], classes: np.ndarray, fraction: float, seed: int
) -> np.ndarray:
    """The share of each class, at least one sequence of two or more, and never all."""
    ordered = np.array(sorted(range(len(names)), key=lambda i: _rank(names[i], seed)))
    test = np.zeros(len(names), bool)
    for number in range(classes.max() + 1):
        members = ordered[classes[ordered] == number]
        share = max(1, int(fraction * len(members) + 0.5))
        test[members[: min(share, len(members) - 1)]] = True
    if not test.any():
        raise UserError(
            "--test_fraction: every class has one sequence; expected two or more of a class."
        )
    return test


def _by_subject(
    subjects: Sequence[str], classes: np.ndarray, fraction: float, seed: int
) -> np.ndarray:
    """Takes each subject, in random order, that brings all classes nearer to their share."""
    ordered = sorted(set(subjects), key=lambda subject: _rank(subject, seed))
    number = {subject: i for i, subject in enumerate(ordered)}
    counts = np.zeros((len(ordered), classes.max() + 1))
    np.add.at(counts, ([number[subject] for subject in subjects], classes), 1)
    missing, chosen = fraction * counts.sum(axis=0), []
    for i, count in enumerate(counts):
        if len(chosen) < len(ordered) - 1 and _size(missing - count) < _size(missing):
            missing = missing - count
            chosen.append(i)
    if not chosen:  # few subjects: each has more than the share
        chosen = [int(np.argmin([_size(missing - count) for count in counts]))]
    return np.isin([number[subject] for subject in subjects], chosen)


def _size(counts: np.ndarray) -> float:
    return float((counts**2).sum())


def _rank(name: str, seed: int) -> bytes:
    """A place in a random order."""
    return hashlib.blake2b(f"{seed}\n{name}".encode(), digest_size=16).digest()
