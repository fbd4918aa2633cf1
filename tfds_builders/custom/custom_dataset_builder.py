"""TFDS builder of a user's own data: `.npz` files, or a pickle in the exchange format of PYSKL."""

import dataclasses
import functools
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from amr_jax import layout_file, parsing, record_builder, skeleton
from amr_jax.errors import BadFile, UserError
from amr_jax.parsing import LeftOut
from amr_jax.readers import arrays, files, labels, npz, pyskl

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_PICKLES = (".pkl", ".pickle")
_WHAT = "sequences of your own (.npz files, or one .pkl)"
_SAMPLES = 100  # sequences whose size is looked at
_PLAUSIBLE = (0.05, 5.0)  # metres, of a body's `records.body_size`


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

    layout: skeleton.Layout | None = None
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


class Builder(record_builder.SkeletonBuilder):
    """A user's own data. Its configs are made by `make`: one for each data set."""

    BUILDER_CONFIGS: ClassVar = []
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put .npz files, or one pickle in the exchange format of PYSKL, into manual_dir."
    )
    DESCRIPTION = "A user's own skeleton sequences."
    HOMEPAGE = ""
    CITATION = ""
    INTEGERS = ()
    TEXTS = ("name", "subject")
    PUBLISHED: ClassVar = {}
    OPTIONS = ("name", "layout", "channels", "scale", "train_split", "test_split")

    def __init__(self, *, config: Config | None = None, **kwargs):
        if not isinstance(config, Config):
            raise UserError(
                "the builder 'custom' has no configs of its own: `python -m amr_jax.prepare "
                "--dataset=custom` makes records, tfds.builder_from_directory reads them."
            )
        self.CLASS_NAMES, self.MAX_BODIES = tuple(config.class_names), config.max_bodies
        self.NUM_JOINTS, self.CHANNELS = config.layout.num_joints, config.channels
        super().__init__(config=config, **kwargs)

    @classmethod
    def protocols(cls, **options: str) -> tuple[str, ...]:
        return (_config(options).name,)

    @classmethod
    def left_out_file(cls, **options: str) -> str:
        return f"{_config(options).name}/left_out.json"

    @classmethod
    def find(cls, manual_dir: Path, **options: str) -> RawSet:
        """A pickle, or all `.npz` files with a `labels.csv`; and a `classes.txt`."""
        config = _config(options)
        form = arrays.Form(config.layout.num_joints, config.channels, config.scale)
        manual_dir = Path(manual_dir)
        if manual_dir.suffix.lower() in _PICKLES and manual_dir.is_file():
            return _of_pickle(files.RawFile(str(manual_dir)), None, config, form)
        everything = files.find(manual_dir, "", what=_WHAT, unique=False)
        pickles = [raw for raw in everything if raw.name.lower().endswith(_PICKLES)]
        classes = _only(everything, labels.CLASSES_FILE)
        classes = labels.read_classes(classes) if classes else None
        if not pickles:
            return _of_npz(manual_dir, everything, classes, config, form)
        if len(pickles) > 1 or any(raw.name.lower().endswith(".npz") for raw in everything):
            raise UserError(
                f"{manual_dir}: found {len(pickles)} pickle(s), {pickles[0]} and others, or .npz "
                "files beside it; expected one pickle, or .npz files alone, for one data set."
            )
        return _of_pickle(pickles[0], classes, config, form)

    @classmethod
    def make(cls, protocol, data_dir, source, **options) -> "Builder":
        """As in the base; what the user left open is as in `source`, or in the records there."""
        asked = _config(options)
        if source is None:
            folder = Path(data_dir) / cls.name / protocol / str(cls.VERSION)
            facts = _as_made(tfds.builder_from_directory(folder).info, asked)
        else:
            raw, spool = source
            facts = _facts(raw, spool, asked)
            how = functools.partial(split, facts["train_split"], facts["test_split"])
            source = dataclasses.replace(raw, split=how), spool
        builder = cls(config=dataclasses.replace(asked, **facts), data_dir=data_dir)
        builder.source = source
        return builder

    def options(self) -> dict[str, object]:
        config = self.builder_config
        kept = {
            key: getattr(config, key)
            for key in ("channels", "scale", "train_split", "test_split", "longest", "sequences")
        }
        return {"layout": layout_file.to_json(config.layout), **kept}


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


def _config(options: dict[str, str]) -> Config:
    """What the user said, checked."""
    for key in ("name", "layout", "channels"):
        if not options.get(key):
            raise UserError(f"--dataset=custom needs --{key} (README, Your own data).")
    if not _NAME.fullmatch(options["name"]):
        raise UserError(
            f"--name is {options['name']!r}; expected letters, digits, '_', '-' and '.'."
        )
    if options["channels"] not in skeleton.CHANNELS:
        raise UserError(
            f"--channels is {options['channels']!r}; expected {', '.join(skeleton.CHANNELS)}: "
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


def _as_made(info: tfds.core.DatasetInfo, asked: Config) -> dict[str, object]:
    """What the records that are there say, where nothing else was asked for."""
    made = dict(info.metadata)
    return {
        "class_names": info.features["label"].names,
        "max_bodies": info.features["joints"].shape[1],
        "longest": made["longest"],
        "sequences": made["sequences"],
        **{key: getattr(asked, key) or made[key] for key in ("train_split", "test_split")},
    }


def _facts(raw: RawSet, spool: parsing.Spool, asked: Config) -> dict[str, object]:
    """What all sequences together say; their labels become numbers in the spool."""
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
    size = float(np.median([_size(spool.example(index)["joints"]) for index in chosen]))
    if not _PLAUSIBLE[0] <= size <= _PLAUSIBLE[1]:
        print(
            f"note: joints lie {size:,.3g} from a body's middle, on average; expected metres. "
            "--scale=0.001 makes metres of millimetres."
        )


def _size(joints: np.ndarray) -> float:
    """Mean distance of the joints of all bodies that are there to their middle."""
    bodies = joints[joints.any(axis=(2, 3))]  # (frames · bodies, V, C)
    return float(np.linalg.norm(bodies - bodies.mean(axis=1, keepdims=True), axis=-1).mean())
