"""A user's own data set: from settings and files to sequences.

`tfds_builders/custom` writes its records.
"""

import contextlib
import dataclasses
import functools
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

import tensorflow_datasets as tfds

from amr_jax.data.build import builder, own_files
from amr_jax.data.readers import arrays, files, formats, labels, layout_file, pyskl, scores
from amr_jax.data.readers.files import LeftOut
from amr_jax.data.readers.search import Search, some
from amr_jax.errors import BadFile, UserError
from amr_jax.skeleton import layouts

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_WHAT = "sequences of your own (.npz, .npy, .json, .bvh or .csv files, or one .pkl)"


@dataclasses.dataclass(eq=False)
class Config(tfds.core.BuilderConfig):
    """One data set: the user's settings, and facts found in its files.

    Attributes:
      layout, channels, scale, scores: as in `arrays.Form`.
      train_split, test_split: the names of these splits in the files; '' for none.
      people: sequences keep at most that many people; None: everybody.
      test_fraction, split_seed: as in `held_out.choose`; 0: the files name the splits; None: not
        given, which is a fifth where there are labels and no splits.
      split_by: what is set aside as a whole, 'subject' or 'sequence'; '' without `test_fraction`.
      class_names, max_bodies: of all sequences.
      longest: frames of the longest sequence.
      sequences: number of sequences in 'train' and 'test'.
    """

    layout: layouts.Layout | None = None
    channels: str = ""
    scale: float = 1.0
    scores: float | str | None = None
    people: int | None = None
    train_split: str = ""
    test_split: str = ""
    test_fraction: float | None = None
    split_seed: int = 0
    split_by: str = ""
    class_names: Sequence[str] = ()
    max_bodies: int = 0
    longest: int = 0
    sequences: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class RawSet(builder.RawSet):
    """Also holds the names of the classes, if a file lists them."""

    classes: tuple[str, ...] | None = None


def config_of(options: dict[str, str]) -> Config:
    """Checks the user's settings; `UserError` names the flag that is wrong or missing."""
    for key in ("name", "layout", "channels"):
        if not options.get(key):
            raise UserError(f"--dataset=custom needs --{key} (docs/own_data.md).")
    if not _NAME.fullmatch(options["name"]):
        raise UserError(
            f"--name is {options['name']!r}; expected letters, digits, '_', '-' and '.'."
        )
    if options["channels"] not in layouts.CHANNELS:
        raise UserError(
            f"--channels is {options['channels']!r}; expected {', '.join(layouts.CHANNELS)}: "
            "metres in space, positions in an image, or positions and their confidence."
        )
    scale = _number(options, "scale", 1.0)
    if not 0 < scale < math.inf:
        raise UserError(f"--scale is {options['scale']!r}; expected a number above 0, e.g. 0.001.")
    fraction = _number(options, "test_fraction", 0.0) if options.get("test_fraction") else None
    if fraction is not None and not 0 <= fraction < 1:
        raise UserError(
            f"--test_fraction is {options['test_fraction']!r}; expected a number between 0 and 1; "
            "0 leaves all sequences for training."
        )
    if not re.fullmatch("[1-9][0-9]?", str(people := options.get("people") or "99")):
        raise UserError(f"--people is {people!r}; expected how many people to keep, such as 1.")
    for other in ("train_split", "test_split"):
        if fraction and options.get(other):
            raise UserError(f"--test_fraction and --{other} contradict each other; give one.")
    if options.get("split_seed") and not fraction:
        raise UserError("--split_seed is for --test_fraction, which is not given.")
    seed = options.get("split_seed") or "0"
    if not re.fullmatch("[0-9]{1,9}", str(seed)):
        raise UserError(f"--split_seed is {seed!r}; expected a whole number from 0.")
    return Config(
        name=options["name"],
        layout=layout_file.find(options["layout"]),
        channels=options["channels"],
        scale=scale,
        scores=scores.parse(options.get("scores", ""), options["channels"]),
        people=int(people) if options.get("people") else None,
        train_split=options.get("train_split", ""),
        test_split=options.get("test_split", ""),
        test_fraction=fraction,
        split_seed=int(seed),
    )


def _number(options: dict[str, str], key: str, default: float) -> float:
    try:
        return float(options.get(key) or default)
    except ValueError:
        return math.nan


def find(manual_dir: Path, config: Config) -> RawSet:
    """Finds pickles, or all files of sequences with their `labels.csv`; and a `classes.txt`.

    Beside pickles and `.npz` files, others are not read.

    Raises:
      UserError: neither or both.
      BadFile: a pickle or a table cannot be read.
    """
    form = arrays.Form(
        config.layout.num_joints,
        config.channels,
        config.scale,
        scores=config.scores,
        layout=config.layout.name,
        joints=config.layout.joints,
    )
    if own_files.is_alone(manual_dir):
        names = (manual_dir.name, labels.CLASSES_FILE, labels.LABELS_FILE)
        beside = [files.RawFile(str(manual_dir.with_name(name))) for name in names]
        everything = [raw for raw in beside if os.path.isfile(raw.container)]
        manual_dir, search = manual_dir.parent, None
    else:
        search = Search(manual_dir, _WHAT)
        everything = search.files
    file = _only(everything, labels.CLASSES_FILE)
    pickles = [raw for raw in everything if raw.name.lower().endswith(own_files.PICKLES)]
    sequences = own_files.of_sequences(everything)
    if pickles and sequences:
        raise UserError(
            f"{manual_dir}: found {pickles[0]} and {sequences[0]}; expected only pickles, or only "
            ".npz files, for one data set."
        )
    if not (pickles or sequences):
        search.ending(".npz")  # its error lists the files that are there
    table = _only(everything, labels.LABELS_FILE) if sequences else None
    named = functools.partial(own_files.name, manual_dir=manual_dir)
    if pickles:
        once = search.once(pickles, named, pyskl.MAX_BYTES) if search else pickles
        tasks, left_out = _in_pickles(once, config)
        read = functools.partial(pyskl.read, form=form)
    else:
        once = search.once(sequences, named) if search else sequences
        tasks, left_out = own_files.tasks(manual_dir, once, table)
        read = functools.partial(own_files.read, form=form, people=config.people)
    notes = []
    if left_out:
        absent = some([sample.name for sample in left_out])
        notes.append(f"{len(left_out):,} names without a sequence: {absent}.")
    if search:
        search.tell_unread({*pickles, *sequences, file, table})
        left_out = [*search.left_out, *left_out]
        notes += search.notes
    return RawSet(
        tasks=tasks,
        read=read,
        split=functools.partial(split, config.train_split, config.test_split),
        protocols=(config.name,),
        left_out=left_out,
        notes=notes,
        classes=labels.read_classes(file) if file else None,
    )


def completed(manual_dir: str | os.PathLike, options: dict[str, str]) -> dict[str, str]:
    """The options, with the layout and the channels of the first file that tells them.

    Where an option is given, it stays. Files that do not tell leave the options as they are.
    """
    if options.get("layout") and options.get("channels"):
        return options
    alone = own_files.is_alone(Path(os.path.expanduser(manual_dir)))
    there = [files.RawFile(str(manual_dir))] if alone else Search(manual_dir, _WHAT).files
    if not (found := own_files.of_sequences(there)):
        return options
    told: dict[str, str] = {}
    for raw in found:
        with contextlib.suppress(files.NoBody):  # such as the first frames of a video
            told = formats.told(raw, options.get("channels") or "")
            break
    told = {key: value for key, value in told.items() if value and not options.get(key)}
    if told:
        print(f"note: {raw} says {' '.join(f'--{key}={value}' for key, value in told.items())}.")
    return options | told


def split(train: str, test: str, protocol: str, fields: dict) -> str | None:
    """'train' or 'test' for an example, by the names of these splits; None for neither."""
    del protocol  # there is only one
    if train in fields["splits"]:
        return "train"
    return "test" if test in fields["splits"] else None


def _in_pickles(
    pickles: Sequence[files.RawFile], config: Config
) -> tuple[list[pyskl.Annotation], list[LeftOut]]:
    content = pyskl.load(*pickles)
    if content.absent and not any(annotation.splits for annotation in content.annotations):
        example = content.annotations[0].name if content.annotations else "a frame_dir"
        raise BadFile(
            pickles[0],
            f"the name {content.absent[0]!r} in a split, and no annotation of any such name",
            f"names of annotations, such as {example!r}",
        )
    if content.splits and not config.test_fraction:  # report it before everything is read
        labels.choose_splits(content.splits, config.train_split, config.test_split)
    why = "named in a split, but has no annotation"
    return content.annotations, [LeftOut(name, str(pickles[0]), why) for name in content.absent]


def _only(everything: Sequence[files.RawFile], name: str) -> files.RawFile | None:
    """The file of that name, if any."""
    found = [raw for raw in everything if raw.name.lower() == name]
    if len(found) > 1:
        raise UserError(f"found {found[0]} and {found[1]}; expected at most one {name}.")
    return found[0] if found else None
