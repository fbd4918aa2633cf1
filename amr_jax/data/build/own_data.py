"""A user's own data: from files to sequences, and what all of them together say.

`tfds_builders/custom` makes records of it.
"""

import dataclasses
import functools
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from amr_jax.data.build import parsing, record_builder
from amr_jax.data.build.parsing import LeftOut
from amr_jax.data.readers import arrays, files, labels, npz, pyskl
from amr_jax.errors import BadFile, UserError
from amr_jax.skeleton import layout_file, layouts

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_PICKLES = (".pkl", ".pickle")
_WHAT = "sequences of your own (.npz files, or one .pkl)"
_SAMPLES = 100  # sequences whose size is looked at


@dataclasses.dataclass(eq=False)
class Config(tfds.core.BuilderConfig):
    """One data set: what the user said of it, and what was found in its files.

    Attributes:
      layout, channels, scale: as in `arrays.Form`.
      train_split, test_split: the names of these splits in the files; '' where there is none.
      class_names, max_bodies: of all sequences.
      longest: frames of the longest sequence.
      sequences: how many 'train' and 'test' have.
    """

    layout: layouts.Layout | None = None
    channels: str = ""
    scale: float = 1.0
    train_split: str = ""
    test_split: str = ""
    class_names: Sequence[str] = ()
    max_bodies: int = 0
    longest: int = 0
    sequences: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class RawSet(record_builder.RawSet):
    """Beside the sequences: the names of the classes, where a file tells them."""

    classes: tuple[str, ...] | None = None


def config_of(options: dict[str, str]) -> Config:
    """What the user said, checked; `UserError` names the flag that is wrong or missing."""
    for key in ("name", "layout", "channels"):
        if not options.get(key):
            raise UserError(f"--dataset=custom needs --{key} (README, Your own data).")
    if not _NAME.fullmatch(options["name"]):
        raise UserError(
            f"--name is {options['name']!r}; expected letters, digits, '_', '-' and '.'."
        )
    if options["channels"] not in layouts.CHANNELS:
        raise UserError(
            f"--channels is {options['channels']!r}; expected {', '.join(layouts.CHANNELS)}: "
            "metres in space, places in an image, or those with the confidence in them."
        )
    try:
        scale = float(options.get("scale", 1.0))
    except ValueError:
        scale = math.nan
    if not 0 < scale < math.inf:
        raise UserError(f"--scale is {options['scale']!r}; expected a number above 0, e.g. 0.001.")
    return Config(
        name=options["name"],
        layout=layout_file.find(options["layout"]),
        channels=options["channels"],
        scale=scale,
        train_split=options.get("train_split", ""),
        test_split=options.get("test_split", ""),
    )


def find(manual_dir: Path, config: Config) -> RawSet:
    """A pickle, or all `.npz` files with a `labels.csv`; and a `classes.txt`.

    Raises:
      UserError: neither, both, or several; a pickle that cannot be read (BadFile).
    """
    form = arrays.Form(config.layout.num_joints, config.channels, config.scale)
    if manual_dir.suffix.lower() in _PICKLES and manual_dir.is_file():
        beside = [manual_dir, manual_dir.with_name(labels.CLASSES_FILE)]
        everything = [files.RawFile(str(path)) for path in beside if path.is_file()]
    else:
        everything = files.find(manual_dir, "", what=_WHAT, unique=False)
    file = _only(everything, labels.CLASSES_FILE)
    classes = labels.read_classes(file) if file else None
    pickles = [raw for raw in everything if raw.name.lower().endswith(_PICKLES)]
    if not pickles:
        return _of_npz(manual_dir, everything, classes, config, form)
    if len(pickles) > 1 or any(raw.name.lower().endswith(".npz") for raw in everything):
        raise UserError(
            f"{manual_dir}: found {pickles[0]}, and other pickles or .npz files beside it; "
            "expected one pickle, or .npz files alone, for one data set."
        )
    return _of_pickle(pickles[0], classes, config, form)


@dataclasses.dataclass(frozen=True)
class Task:
    """One `.npz` file; `told` is its row of the table of labels, `table` that table if any."""

    raw: files.RawFile
    name: str
    told: dict[str, str] | None
    table: str | None

    def __str__(self) -> str:
        return str(self.raw)


def read_npz(task: Task, *, form: arrays.Form) -> list[dict | LeftOut]:
    """The example of one `.npz` file, as `parsing.parse` wants it."""
    if task.table is not None and task.told is None:
        raise BadFile(task.raw, "no row for it", f"one with the name {task.name!r} in {task.table}")
    try:
        example = npz.read(task.raw, task.name, form, task.told)
    except arrays.NoBody as error:
        return [LeftOut(task.name, str(task.raw), error.found)]
    split = example.pop("split")
    return [{**example, "splits": (split,) if split else ()}]


def read_annotation(task: pyskl.Annotation, *, form: arrays.Form) -> list[dict | LeftOut]:
    """The example of one annotation of a pickle, as `parsing.parse` wants it."""
    try:
        return [pyskl.read(task, form)]
    except arrays.NoBody as error:
        return [LeftOut(task.name, task.file, error.found)]


def split(train: str, test: str, protocol: str, fields: dict) -> str | None:
    """'train' or 'test' of an example, by the names of these splits; None: in neither."""
    del protocol  # there is one
    if train in fields["splits"]:
        return "train"
    return "test" if test in fields["splits"] else None


def _of_pickle(raw, classes, config: Config, form: arrays.Form) -> RawSet:
    content = pyskl.load(raw)
    if content.splits:  # a wrong choice is told before everything is read
        labels.choose_splits(content.splits, config.train_split, config.test_split)
    absent = [
        LeftOut(name, str(raw), "named in a split, but has no annotation")
        for name in content.absent
    ]
    return RawSet(
        tasks=content.annotations,
        read=functools.partial(read_annotation, form=form),
        split=functools.partial(split, config.train_split, config.test_split),
        protocols=(config.name,),
        left_out=tuple(absent),
        classes=classes,
    )


def _of_npz(manual_dir: Path, everything, classes, config: Config, form: arrays.Form) -> RawSet:
    sequences = [raw for raw in everything if raw.name.lower().endswith(".npz")]
    if not sequences:
        files.find(manual_dir, ".npz", what=_WHAT)  # says what is there instead
    file = _only(everything, labels.LABELS_FILE)
    table = labels.read_labels(file) if file else {}
    names: dict[str, files.RawFile] = {}
    for raw in sequences:
        name = _name(raw, manual_dir)
        if name in names:
            raise UserError(f"{names[name]} and {raw} are both called {name!r}; remove one.")
        names[name] = raw
    return RawSet(
        tasks=[
            Task(raw, name, table.get(name), str(file) if file else None)
            for name, raw in sorted(names.items())
        ],
        read=functools.partial(read_npz, form=form),
        split=functools.partial(split, config.train_split, config.test_split),
        protocols=(config.name,),
        left_out=tuple(
            LeftOut(name, str(file), "a row of the table, but no file of that name")
            for name in sorted(table.keys() - names.keys())
        ),
        classes=classes,
    )


def _name(raw: files.RawFile, manual_dir: Path) -> str:
    """The file's path below the folder, or in its archive, without `.npz`."""
    path = raw.member or os.path.relpath(raw.container, manual_dir)
    return Path(path).as_posix()[: -len(".npz")]


def _only(everything: Sequence[files.RawFile], name: str) -> files.RawFile | None:
    """The one file of that name, if any."""
    found = [raw for raw in everything if raw.name == name]
    if len(found) > 1:
        raise UserError(f"found {found[0]} and {found[1]}; expected at most one {name}.")
    return found[0] if found else None


def facts(raw: RawSet, spool: parsing.Spool, asked: Config) -> dict[str, object]:
    """What all sequences together say, as fields of a `Config`.

    Their labels become numbers in the spool.

    Raises:
      UserError: no sequence; labels or splits that do not fit together.
    """
    examples = [spool.fields(index) for index in range(len(spool))]
    if not examples:
        raise UserError(record_builder.NOTHING_LEFT.format(f"custom/{asked.name}"))
    names = [example["name"] for example in examples]
    numbers, classes = labels.numbered(
        [example["label"] for example in examples], names, raw.classes
    )
    for example, number in zip(examples, numbers, strict=True):
        example["label"] = number
    train, test = _splits(examples, asked)
    if asked.channels == "xyz":
        _note_unlikely_metres(spool)
    shapes = [spool.shape(index) for index in range(len(spool))]
    of_split = [split(train, test, asked.name, example) for example in examples]
    return {
        "class_names": classes,
        "max_bodies": max(shape[1] for shape in shapes),
        "longest": max(shape[0] for shape in shapes),
        "sequences": {name: of_split.count(name) for name in record_builder.SPLITS},
        "train_split": train,
        "test_split": test,
    }


def _splits(examples: list[dict], asked: Config) -> tuple[str, str]:
    """The names of the two splits, checked: no sequence may be in both."""
    found = list(dict.fromkeys(split for example in examples for split in example["splits"]))
    if not found and not (asked.train_split or asked.test_split):
        print("note: no sequence says its split; all are for training.")
        for example in examples:
            example["splits"] = ("train",)
        found = ["train"]
    train, test = labels.choose_splits(found, asked.train_split, asked.test_split)
    both = [e["name"] for e in examples if train in e["splits"] and test in e["splits"]]
    if both:
        raise UserError(
            f"{len(both)} sequences are in the splits {train} and {test} at once, the first is "
            f"{both[0]}; expected none."
        )
    neither = sum(not {train, test} & set(example["splits"]) for example in examples)
    if neither:
        print(f"note: {neither:,} sequences are neither in {train!r} nor in {test!r}: not written.")
    return train, test


def _note_unlikely_metres(spool: parsing.Spool) -> None:
    """Says so, where bodies have a size that no metres give them."""
    chosen = np.linspace(0, len(spool) - 1, min(len(spool), _SAMPLES)).astype(int)
    extents = [arrays.extent(spool.example(index)["joints"]) for index in chosen]
    doubt = arrays.doubt_metres(float(np.median(extents)))
    if doubt:
        print(f"note: {doubt} --scale=0.001 makes metres of millimetres.")
