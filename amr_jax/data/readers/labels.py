"""What a user writes down beside sequences: `labels.csv` and `classes.txt`."""

import csv
import io
import re

from amr_jax.errors import BadFile, UserError

LABELS_FILE, CLASSES_FILE = "labels.csv", "classes.txt"
_COLUMNS = ("name", "label", "split", "subject")
_MAX_BYTES = 2**24  # of either file; a row of ten bytes costs some hundred in memory
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]")  # but tab, CR, LF
_NUMBER = re.compile("[0-9]+")


def read_labels(raw) -> dict[str, dict[str, str]]:
    """Name of a sequence -> its `label`, `split` and `subject`; '' where the table has none.

    Args:
      raw: a `files.RawFile` of a CSV table in UTF-8, its first line the names of the columns:
        `name` and at least one of the others; further columns are not looked at. A name is the
        file's path below the folder, with or without `.npz`.

    Raises:
      BadFile: another form, or a name twice.
    """
    # Old line ends become new ones; a quote that nothing ends would swallow all that follows.
    text = io.StringIO(_text(raw), newline=None)
    reader = csv.DictReader(text, skipinitialspace=True, strict=True)
    try:
        reader.fieldnames = [column.strip() for column in reader.fieldnames or ()]
        _check_columns(reader.fieldnames, raw)
        return _table(reader, raw)
    except csv.Error as error:
        line = reader.line_num + 1  # where the row begins that cannot be read
        raise BadFile(raw, f"no CSV ({error})", "cells with commas", line) from error


def _check_columns(found: list[str], raw) -> None:
    columns = [column for column in _COLUMNS if column in found]
    told = f"the columns {', '.join(found) or 'none'}"
    if "name" not in columns or len(columns) < 2:
        expected = f"name, and of {', '.join(_COLUMNS[1:])} those that are known"
        raise BadFile(raw, told, expected, line=1)
    if any(found.count(column) > 1 for column in columns):
        raise BadFile(raw, told, "every column once", line=1)


def _table(reader: csv.DictReader, raw) -> dict[str, dict[str, str]]:
    table: dict[str, dict[str, str]] = {}
    for row in reader:
        if None in row or None in row.values():
            raise BadFile(
                raw, "another number of cells than of columns", "one for each", reader.line_num
            )
        name = row["name"].strip().removesuffix(".npz")
        if not name:
            raise BadFile(raw, "no name", "the name of a sequence", reader.line_num)
        if name in table:
            raise BadFile(raw, f"the name {name!r} again", "every name once", reader.line_num)
        table[name] = {key: row.get(key, "").strip() for key in _COLUMNS[1:]}
    return table


def read_classes(raw) -> tuple[str, ...]:
    """The names of the classes, one on a line, in the order of their numbers from 0.

    Raises:
      BadFile: an empty line between them, or a name twice.
    """
    names = tuple(line.strip() for line in _text(raw).rstrip().splitlines())
    seen: set[str] = set()
    for number, name in enumerate(names, start=1):
        if not name:
            raise BadFile(raw, "an empty line", "the name of a class", number)
        if name in seen:
            raise BadFile(raw, f"the class {name!r} again", "every class once", number)
        seen.add(name)
    if not names:
        raise BadFile(raw, "nothing", "the names of the classes, one on a line")
    return names


def numbered(
    labels: list[str], names: list[str], classes: tuple[str, ...] | None
) -> tuple[list[int], tuple[str, ...]]:
    """Labels of all sequences -> their numbers, and the names of the classes.

    Where all labels are whole numbers, they are the classes' numbers, from 0; else names, numbered
    in the order of the alphabet. `classes`, if given, says names and numbers instead. Where no
    sequence has a label, all are of the one class 'unlabelled'.

    Args:
      labels: as told, '' for none.
      names: of the sequences, for errors.
      classes: from `read_classes`; None: there is no such file.

    Raises:
      UserError: some sequences lack a label that others have, or one is no class.
    """
    missing = [name for name, label in zip(names, labels, strict=True) if not label]
    if len(missing) == len(labels):
        return [0] * len(labels), ("unlabelled",)
    if missing:
        raise UserError(
            f"{len(missing)} of {len(labels)} sequences have no label, the first is {missing[0]}; "
            "expected one for each, or none at all."
        )
    if all(_NUMBER.fullmatch(label) for label in labels):
        too_long = max(labels, key=len)
        if len(too_long) > 9:  # Python itself refuses numbers of thousands of digits
            raise UserError(f"the label {too_long[:20]}; expected numbers of classes, from 0 on.")
        numbers = [int(label) for label in labels]
        highest = max(numbers)
        if classes is None and highest >= 10 * len(labels) + 1000:
            raise UserError(f"the label {highest}; expected numbers of classes, from 0 on.")
        classes = classes or tuple(str(number) for number in range(highest + 1))
        if highest >= len(classes):
            raise UserError(
                f"{names[numbers.index(highest)]}: label {highest}; expected 0 to "
                f"{len(classes) - 1}, as {CLASSES_FILE} names {len(classes)} classes."
            )
        return numbers, classes
    classes = classes or tuple(sorted(set(labels)))
    number = {name: i for i, name in enumerate(classes)}
    for name, label in zip(names, labels, strict=True):
        if label not in number:
            raise UserError(f"{name}: label {label!r}; expected a class of {CLASSES_FILE}.")
    return [number[label] for label in labels], classes


def choose_splits(found: list[str], train: str, test: str) -> tuple[str, str]:
    """Which splits become 'train' and 'test'.

    Asked for by name; or, where neither is, the one pair of names that differ in 'train' against
    'test' or 'val': `xsub_train` and `xsub_val`.

    Args:
      found: the names of all splits.
      train, test: the names asked for; '' for none.

    Returns:
      Two names; the second is '' where there is no test split.

    Raises:
      UserError: a name that is not there, or more than one pair to choose from.
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
        if "train" in name
        for other in (name.replace("train", "test"), name.replace("train", "val"))
        if other in found
    ]
    if len(pairs) == 1:
        return pairs[0]
    if not pairs and found == ["train"]:
        return "train", ""
    choices = "; ".join(f"--train_split={a} --test_split={b}" for a, b in pairs)
    raise UserError(
        f"the data has the splits {', '.join(found)}: which one to train on, and which to test on? "
        f"Say --train_split and --test_split{f', e.g. one of: {choices}' if choices else ''}. "
        "Each pair is a data set with a --name of its own."
    )


def _text(raw) -> str:
    try:
        text = raw.read(_MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadFile(raw, "bytes that are not text", "text in UTF-8") from error
    odd = _CONTROL.search(text)
    if odd:  # as of UTF-16, or of a line end that is one to Python alone
        line = text.count("\n", 0, odd.start()) + 1
        raise BadFile(raw, f"the character {odd[0]!a}", "lines of text in UTF-8", line)
    return text
