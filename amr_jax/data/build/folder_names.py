"""Classes and splits from the folders of a user's own data: `RAW/CLASS/clip.json`.

Where neither files nor `labels.csv` name any label, the folder of a file is its class. `train`,
`test` and `val` as the outermost folders of all files are splits: `RAW/train/CLASS/clip.json`.
"""

import collections
from collections.abc import Sequence

_SPLITS = {"train", "test", "val"}


def of_names(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """(labels, splits) that the folders in the names of files tell; [] if they do not."""
    folders = [name.split("/")[:-1] for name in names]
    splits = [parts[0] if parts else "" for parts in folders]
    if {"train"} < set(splits) <= _SPLITS:
        folders = [parts[1:] for parts in folders]
    else:
        splits = []
    classes = [parts[-1] if parts else "" for parts in folders]
    return classes if len(set(classes) - {""}) > 1 and "" not in classes else [], splits


def take(examples: list[dict]) -> None:
    """Fills `label` and `splits` of all examples in place, and tells the user.

    Args:
      examples: with `name`, a path with slashes, `label` as a text and `splits`; and `file`, the
        name of the file, where it has several sequences that are called `file/sequence`.
    """
    classes, splits = of_names([example.get("file", example["name"]) for example in examples])
    if splits and not any(example["splits"] for example in examples):
        for example, split in zip(examples, splits, strict=True):
            example["splits"] = (split,)
        print(f"note: splits are the outermost folders: {', '.join(sorted(set(splits)))}.")
    if classes and not any(example["label"] for example in examples):
        for example, label in zip(examples, classes, strict=True):
            example["label"] = label
        print(f"note: labels are the names of the folders: {counted(classes)}. (labels.csv wins.)")


def counted(values: Sequence[str]) -> str:
    """'clap (5), wave (6)'."""
    counts = sorted(collections.Counter(values).items())
    shown = ", ".join(f"{name} ({count:,})" for name, count in counts[:8])
    return shown + (f", and {len(counts) - 8} more" if len(counts) > 8 else "")
