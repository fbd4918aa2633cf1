"""Facts of a user's own data set that need all its sequences: classes, splits, sizes."""

import numpy as np

from amr_jax.data.build import builder, custom, folder_names, held_out, parsing
from amr_jax.data.readers import arrays, labels
from amr_jax.errors import UserError

_HOW_TO_TEST = "--test_fraction=0.2 sets a fifth aside for testing."
_TEST_FRACTION = 0.2  # of labelled data without splits
_SAMPLES = 100  # sequences whose size is checked


def of(raw: custom.RawSet, spool: parsing.Spool, config: custom.Config) -> dict[str, object]:
    """Facts that need all sequences, as fields of a `custom.Config`.

    Also replaces labels in the spool by their numbers.

    Raises:
      UserError: no sequence, or labels or splits that do not fit together.
    """
    examples = [spool.fields(index) for index in range(len(spool))]
    if not examples:
        raise builder.nothing_left(f"custom/{config.name}", spool)
    names = [example["name"] for example in examples]
    folder_names.take(examples)
    numbers, classes = labels.numbered(
        [example["label"] for example in examples], names, raw.classes
    )
    for example, number in zip(examples, numbers, strict=True):
        example["label"] = number
    if raw.classes and len(set(raw.classes)) < len(raw.classes) == len(classes):
        marked = [name for name, old in zip(classes, raw.classes, strict=True) if name != old]
        print(f"note: names in {labels.CLASSES_FILE} that occur again became {', '.join(marked)}.")
    is_labelled = classes != (labels.UNLABELLED,)
    train, test, fraction, split_by = _splits(examples, config, is_labelled)
    if config.channels == "xyz":
        _warn_if_not_metres(spool)
    shapes = [spool.shape(index) for index in range(len(spool))]
    if all(bodies > max(frames, 2) for frames, bodies, *_ in shapes):
        print("note: all sequences have more bodies than frames; expected (T, M, V, C), T frames.")
    of_split = [custom.split(train, test, config.name, example) for example in examples]
    return {
        "class_names": classes,
        "max_bodies": max(shape[1] for shape in shapes),
        "longest": max(shape[0] for shape in shapes),
        "sequences": {name: of_split.count(name) for name in builder.SPLITS},
        "train_split": train,
        "test_split": test,
        "test_fraction": fraction,
        "split_by": split_by,
    }


def _splits(
    examples: list[dict], config: custom.Config, is_labelled: bool
) -> tuple[str, str, float, str]:
    """The names of the two splits, no sequence in both; `test_fraction` and `split_by`."""
    found = list(dict.fromkeys(split for example in examples for split in example["splits"]))
    fraction, by_default = config.test_fraction or 0.0, config.test_fraction is None
    by_default &= is_labelled and not (found or config.train_split or config.test_split)
    if by_default:
        fraction = _TEST_FRACTION
    if fraction:
        try:
            split_by = held_out.set_aside(examples, found, fraction, config.split_seed)
            return "train", "test", fraction, split_by
        except UserError as error:
            if not by_default:
                raise
            print(f"note: nothing can be set aside for testing. {error}")
    if not found and not (config.train_split or config.test_split):
        print(f"note: no sequence has a split; all are for training. {_HOW_TO_TEST}")
        for example in examples:
            example["splits"] = ("train",)
        found = ["train"]
    elif found == ["train"]:
        print(f"note: the only split is 'train'. {_HOW_TO_TEST}")
    train, test = labels.choose_splits(found, config.train_split, config.test_split)
    both = [e["name"] for e in examples if train in e["splits"] and test in e["splits"]]
    if both:
        raise UserError(
            f"{len(both)} sequences are in both splits, {train} and {test}, the first is "
            f"{both[0]}; expected none."
        )
    return train, test, 0.0, ""


def _warn_if_not_metres(spool: parsing.Spool) -> None:
    """Warns if body sizes are implausible in metres."""
    chosen = np.linspace(0, len(spool) - 1, min(len(spool), _SAMPLES)).astype(int)
    extents = [arrays.extent(spool.example(index)["joints"]) for index in chosen]
    doubt = arrays.doubt_metres(float(np.median(extents)))
    if doubt:
        print(f"note: {doubt} --scale=0.001 converts millimetres.")
