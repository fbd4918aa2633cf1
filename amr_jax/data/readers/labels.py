"""Tables that users put beside their sequences: `labels.csv` and `classes.txt`."""

import collections
import csv
import io
import re
import unicodedata

from amr_jax.data.readers import files, text
from amr_jax.errors import BadFile, UserError

LABELS_FILE, CLASSES_FILE = "labels.csv", "classes.txt"
_COLUMNS = ("name", "label", "split", "subject")
_MAX_BYTES = 2**24  # limit for either file; a row of ten bytes takes hundreds in memory
_CONTROL = re.compile(  # except tab, CR, LF
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff]"
)
# Records list one class per line, in UTF-8.
_NOT_IN_A_CLASS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]")
# The only class of data without labels.
UNLABELLED = "unlabelled"
_NO_LABEL = ("", "-1", "-1.0", "nan", "NaN", "None", "NA")  # as tables and programs write it

_NUMBER = re.compile(r"[0-9]+(\.0)?")  # tables of numbers are often saved as 1.0
_ENDING = re.compile(r"\.(npz|npy|json|bvh|csv)(\.gz)?$", re.IGNORECASE)


def read_labels(raw: files.RawFile) -> dict[str, dict[str, str]]:
    """Reads a table: name of a sequence -> its `label`, `split` and `subject`, '' if empty.

    Columns that the table lacks are absent.

    Args:
      raw: a CSV table in UTF-8. The first line names the columns: `name` and at least one of the
        others; further columns are ignored. A name is the file's path below the folder, with or
        without its ending; here it is `comparable`.

    Raises:
      BadFile: another form, or a name twice.
    """
    # Universal line ends. `strict` refuses a quote without end, which would contain the whole rest.
    lines = io.StringIO(_text(raw), newline=None)
    reader = csv.DictReader(lines, skipinitialspace=True, strict=True)
    try:
        reader.fieldnames = [column.strip().lower() for column in reader.fieldnames or ()]
        _check_columns(reader.fieldnames, raw)
        return _table(reader, raw)
    except csv.Error as error:
        line = reader.line_num + 1  # where the invalid row begins
        raise BadFile(raw, f"no CSV ({error})", "cells with commas", line) from error


def _check_columns(found: list[str], raw: files.RawFile) -> None:
    columns = [column for column in _COLUMNS if column in found]
    listed = f"the columns {', '.join(found) or 'none'}"
    if "name" not in columns or len(columns) < 2:
        raise BadFile(raw, listed, f"name, and at least one of {', '.join(_COLUMNS[1:])}", line=1)
    if any(found.count(column) > 1 for column in columns):
        raise BadFile(raw, listed, "every column once", line=1)


def _table(reader: csv.DictReader, raw: files.RawFile) -> dict[str, dict[str, str]]:
    table: dict[str, dict[str, str]] = {}
    for row in reader:
        if None in row or None in row.values():
            raise BadFile(
                raw, "another number of cells than of columns", "one per column", reader.line_num
            )
        name = comparable(_ENDING.sub("", row["name"].strip()))
        if not name:
            raise BadFile(raw, "no name", "the name of a sequence", reader.line_num)
        if name in table:
            raise BadFile(raw, f"the name {name!r} again", "every name once", reader.line_num)
        table[name] = {key: row[key].strip() for key in _COLUMNS[1:] if key in row}
    return table


def comparable(name: str) -> str:
    """A name with one form of accents (a Mac writes 'ä' as two characters) and of slashes."""
    return unicodedata.normalize("NFC", name).replace("\\", "/").removeprefix("./")


def _class_name(text: str) -> str:
    """A label or the name of a class, in the one form in which names are compared."""
    return unicodedata.normalize("NFC", text.strip())


def read_classes(raw: files.RawFile) -> tuple[str, ...]:
    """Reads the names of the classes, one per line, in the order of their numbers from 0.

    Raises:
      BadFile: an empty line between them, or a tab in a name.
    """
    names = tuple(map(_class_name, _text(raw).rstrip().splitlines()))
    for line, name in enumerate(names, start=1):
        if odd := _NOT_IN_A_CLASS.search(name):
            raise BadFile(raw, f"the character {odd[0]!a}", "the name of a class", line)
    if "" in names:
        raise BadFile(raw, "an empty line", "the name of a class", names.index("") + 1)
    if not names:
        raise BadFile(raw, "nothing", "the names of the classes, one per line")
    return names


def numbered(
    labels: list[str], names: list[str], classes: tuple[str, ...] | None
) -> tuple[list[int], tuple[str, ...]]:
    """Converts the labels of all sequences to numbers; returns the names of the classes too.

    Labels that are all whole numbers are the numbers of classes, from 0. Other labels are names,
    numbered in alphabetical order or as in `classes`. If no sequence has a label (`_NO_LABEL`), all
    are of one class, `UNLABELLED`. Two classes may have one name, if the labels are numbers;
    the second is then marked by its number.

    Args:
      labels: one per sequence; -1, '', nan, None or NA for none, unless a class has this name.
      names: of the sequences, for errors.
      classes: from `read_classes`; None if there is no such file.

    Raises:
      UserError: only some sequences have a label; a label is no class, could be two, or has control
        characters.
    """
    labels = [_class_name(label) for label in labels]
    absent = set(_NO_LABEL).difference(classes or ())
    missing = [name for name, label in zip(names, labels, strict=True) if label in absent]
    if len(missing) == len(labels):
        return [0] * len(labels), (UNLABELLED,)
    if missing:
        label = next(label for label in labels if label in absent)
        raise UserError(
            f"{len(missing)} of {len(labels)} sequences have no label or -1, the first is "
            f"{missing[0]}{label and f' ({label})'}; expected a label for each, or none at all. "
            f"(nan, None and NA are labels only if {CLASSES_FILE} names such classes.)"
        )
    for name, label in zip(names, labels, strict=True):
        if odd := _NOT_IN_A_CLASS.search(label):
            raise UserError(
                f"{name}: label {label!a} with the character {odd[0]!a}; expected a name in one "
                "line without control characters. Correct the label."
            )
    no_number = [label for label in labels if not _NUMBER.fullmatch(label)]
    if no_number and len(no_number) < len(labels):
        print(
            f"note: {len(labels) - len(no_number)} of {len(labels)} labels are numbers, the first "
            f"other is {no_number[0]!r} of {names[labels.index(no_number[0])]}: all are taken as "
            "names of classes."
        )
    if not no_number:
        labels = [label.removesuffix(".0") for label in labels]
        too_long = max(labels, key=len)
        if len(too_long) > 9:  # Python refuses numbers of thousands of digits
            raise UserError(f"the label {too_long[:20]}; expected numbers of classes, from 0 on.")
        numbers = [int(label) for label in labels]
        highest = max(numbers)
        if classes is None and highest >= 10 * len(labels) + 1000:
            raise UserError(f"the label {highest}; expected numbers of classes, from 0 on.")
        classes = classes or tuple(str(number) for number in range(highest + 1))
        if highest >= len(classes):
            raise UserError(
                f"{names[numbers.index(highest)]}: label {highest}; expected 0 to "
                f"{len(classes) - 1}: {CLASSES_FILE} names {len(classes)} classes."
            )
        return numbers, _distinct(classes)
    classes = classes or tuple(sorted(set(labels)))
    counts = collections.Counter(classes)
    number = {name: i for i, name in enumerate(classes)}
    for name, label in zip(names, labels, strict=True):
        if label not in number:
            raise UserError(f"{name}: label {label!r}; expected a class of {CLASSES_FILE}.")
        if counts[label] > 1:
            raise UserError(
                f"{name}: label {label!r}; expected a number: {CLASSES_FILE} has {counts[label]} "
                "classes of this name."
            )
    return [number[label] for label in labels], _distinct(classes)


def _distinct(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Names that occur again get the numbers of their classes: records need different names."""
    taken, seen, made = set(classes), set(), []
    for number, name in enumerate(classes):
        distinct = name
        if name in seen:
            distinct = f"{name} (class {number})"
            while distinct in taken:
                distinct += "*"
            taken.add(distinct)
        seen.add(name)
        made.append(distinct)
    return tuple(made)


def choose_splits(found: list[str], train: str, test: str) -> tuple[str, str]:
    """Selects the splits that become 'train' and 'test'.

    Without names given, they are the only pair of names that differ in 'train' against 'test' or
    'val', e.g. `xsub_train` and `xsub_val`.

    Args:
      found: the names of all splits.
      train, test: the names given by the user; '' for none.

    Returns:
      Two names; the second is '' if there is no test split.

    Raises:
      UserError: an unknown name, or not exactly one pair.
    """
    for flag, name in (("train_split", train), ("test_split", test)):
        if name and name not in found:
            raise UserError(f"--{flag} is {name!r}; the data has: {', '.join(found) or 'none'}.")
    if train and train == test:
        raise UserError(f"--train_split and --test_split are both {train!r}; expected two splits.")
    if train or test:
        return train, test
    pairs = [
        (name, other)
        for name in found
        if "train" in name.lower()
        for to in ("test", "val")
        for other in found
        if other.lower() == name.lower().replace("train", to)
    ]
    if len(pairs) == 1:
        return pairs[0]
    if not pairs and found == ["train"]:
        return "train", ""
    if len(found) == 1:
        raise UserError(
            f"the data has one split, {found[0]}; expected --train_split={found[0]} to train on "
            "all of it, or --test_fraction=0.2 to set a part of it aside for testing."
        )
    choices = "; ".join(f"--train_split={a} --test_split={b}" for a, b in pairs)
    raise UserError(
        f"the data has the splits {', '.join(found)}; expected --train_split and --test_split to "
        f"select two of them{f', e.g. one of: {choices}' if choices else ''}. "
        "Each pair is a data set with its own --name."
    )


def _text(raw: files.RawFile) -> str:
    content = text.decode(raw.read(_MAX_BYTES), raw)
    odd = _CONTROL.search(content)
    if odd:  # binary, a line end known to Python only, or a second byte order mark
        line = content.count("\n", 0, odd.start()) + 1
        raise BadFile(raw, f"the character {odd[0]!a}", "lines of text in UTF-8", line)
    return content
