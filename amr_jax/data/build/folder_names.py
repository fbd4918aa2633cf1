"""Classes and splits from the folders of a user's own data: `RAW/CLASS/clip.json`.

Where neither files nor `labels.csv` name any label, the folder of a file is its class. `train`,
`test` and `val` as the outermost folders of all files are splits: `RAW/train/CLASS/clip.json`.
"""

import collections

_SPLITS = ("train", "test", "val")


def take(examples: list[dict]) -> None:
    """Fills `label` and `splits` of all examples in place, and tells the user.

    Args:
      examples: with `name`, a path with slashes, `label` as a text and `splits`.
    """
    folders = [example["name"].split("/")[:-1] for example in examples]
    outermost = {parts[0] if parts else "" for parts in folders}
    if (
        {"train"} < outermost
        and outermost <= set(_SPLITS)
        and not any(example["splits"] for example in examples)
    ):
        for example, parts in zip(examples, folders, strict=True):
            example["splits"] = (parts.pop(0),)
        print(f"note: splits are the outermost folders: {', '.join(sorted(outermost))}.")
    classes = collections.Counter(parts[-1] if parts else "" for parts in folders)
    if len(classes) < 2 or "" in classes or any(example["label"] for example in examples):
        return
    for example, parts in zip(examples, folders, strict=True):
        example["label"] = parts[-1]
    shown = ", ".join(f"{name} ({count:,})" for name, count in sorted(classes.items())[:8])
    more = ", …" if len(classes) > 8 else ""
    print(f"note: labels are the names of the folders: {shown}{more}. (labels.csv replaces them.)")
