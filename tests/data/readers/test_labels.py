"""Tables of labels, names of classes, and the choice of splits."""

import time

import pytest

from amr_jax.data.readers import files, labels
from amr_jax.errors import BadFile, UserError


def raw(folder, content: str | bytes) -> files.RawFile:
    path = folder / "file"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return files.RawFile(str(path))


def test_reads_a_table(tmp_path):
    table = "\ufefflabel, name,note,split\r\nwave,walk/a.npz,x,train\r\nrun ,b,,\r\n"
    assert labels.read_labels(raw(tmp_path, table)) == {
        "walk/a": {"label": "wave", "split": "train"},
        "b": {"label": "run", "split": ""},
    }


def test_spaces_and_line_ends_are_ignored(tmp_path):
    expected = labels.read_labels(raw(tmp_path, "name,label,subject\na,wave,1\nb,run,2\n"))
    assert expected["b"] == {"label": "run", "subject": "2"}
    for table in (
        "name,label,subject \na,wave,1 \nb,run,2 \n",
        " name , label , subject\na,wave,1\nb,run,2",
        "name,label,subject\ra,wave,1\rb,run,2\r",
        "Name,LABEL,Subject\n./a.npz,wave,1\nb.NPZ,run,2\n",
    ):
        assert labels.read_labels(raw(tmp_path, table)) == expected


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ("a,wave\n", 1, "the columns a, wave; expected name, and at least one of label, split"),
        ("", 1, "the columns none"),
        ("name\na\n", 1, "the columns name"),
        ("name,label\na,wave,x\n", 2, "another number of cells"),
        ("name,label\na,wave\nb\n", 3, "another number of cells"),
        ("name,label\n,wave\n", 2, "no name"),
        ("name,label\na,wave\nb,wave\na.npz,run\n", 4, "the name 'a' again"),
        (b"name,label\n\xff,wave\n", None, "not text"),
        ('name,label\n"a,wave\nb,wave\nc,wave\n', 2, "no CSV"),  # a quote without end
        ('name,label\n"a"b,wave\n', 2, "no CSV"),
        ("name,label\n" + 200_000 * "a" + ",wave\n", 2, "no CSV"),
        ("name,label,label\na,wave,run\n", 1, "label, label; expected every column once"),
    ],
)
def test_refuses_a_table(tmp_path, content, line, message):
    with pytest.raises(BadFile, match=message) as caught:
        labels.read_labels(raw(tmp_path, content))
    assert caught.value.line == line


def test_many_classes_take_linear_time(tmp_path):
    names = tuple(map(str, range(100_000)))
    begin = time.process_time()
    assert labels.read_classes(raw(tmp_path, "\n".join(names))) == names
    assert time.process_time() - begin < 2


def test_names_of_classes(tmp_path):
    assert labels.read_classes(raw(tmp_path, "wave\n run fast \n\n")) == ("wave", "run fast")
    with pytest.raises(BadFile, match="line 2: found an empty line"):
        labels.read_classes(raw(tmp_path, "wave\n\nrun\n"))
    twice = labels.read_classes(raw(tmp_path, "wave\nrun\nwave\n"))
    assert twice == ("wave", "run", "wave")
    for odd in ("\x1a", "\x00", "\x85", "\u2028", "\ufeff"):
        with pytest.raises(BadFile, match="line 2: found the character"):
            labels.read_classes(raw(tmp_path, f"wave\nrun{odd}fast\n"))
    with pytest.raises(BadFile, match="found text in UTF-16"):
        labels.read_classes(raw(tmp_path, "wave\nrun\n".encode("utf-16-be")))
    with pytest.raises(BadFile, match=r"line 2: found the character '\\t'; expected the name"):
        labels.read_classes(raw(tmp_path, "wave\nrun\tfast\n"))
    assert labels.read_classes(raw(tmp_path, "a\u0308\n\u00e4\u00a0\n")) == ("\u00e4", "\u00e4")
    with pytest.raises(BadFile, match="found nothing"):
        labels.read_classes(raw(tmp_path, "\n"))


@pytest.mark.parametrize(
    ("told", "classes", "numbers", "names"),
    [
        (["2", "0"], None, [2, 0], ("0", "1", "2")),
        (["2", "0"], ("a", "b", "c", "d"), [2, 0], ("a", "b", "c", "d")),
        (["2.0", "0.0"], None, [2, 0], ("0", "1", "2")),
        (["wave", "run", "wave"], None, [1, 0, 1], ("run", "wave")),
        (["\u0661", "\u0660"], None, [1, 0], ("\u0660", "\u0661")),  # names: only 0 to 9 are digits
        (["wave", "2"], None, [1, 0], ("2", "wave")),
        (["wave", "run"], ("wave", "sit", "run"), [0, 2], ("wave", "sit", "run")),
        (["", ""], None, [0, 0], ("unlabelled",)),
        (["2", "0"], ("wave", "run", "wave"), [2, 0], ("wave", "run", "wave (class 2)")),
        (["run"], ("wave", "run", "wave"), [1], ("wave", "run", "wave (class 2)")),
        (
            ["3"],
            ("a", "a (class 1)*", "a (class 3)", "a"),
            [3],
            ("a", "a (class 1)*", "a (class 3)", "a (class 3)*"),
        ),
        (["-1", "-1"], None, [0, 0], ("unlabelled",)),
        (["nan", "NaN", "None"], None, [0, 0, 0], ("unlabelled",)),
        (["NA", "", "-1.0"], None, [0, 0, 0], ("unlabelled",)),
        (["NA", "a"], ("a", "NA"), [1, 0], ("a", "NA")),
        (["walk ", "\nwalk", "walk\t"], None, [0, 0, 0], ("walk",)),
        (["a\u0308", "\u00e4", "b"], None, [1, 1, 0], ("b", "\u00e4")),
        (["a\u0308", "b"], ("\u00e4", "b"), [0, 1], ("\u00e4", "b")),
    ],
)
def test_labels_become_numbers(told, classes, numbers, names):
    assert labels.numbered(told, list("xyz"[: len(told)]), classes) == (numbers, names)


@pytest.mark.parametrize(
    ("told", "classes", "message"),
    [
        (["1", "9" * 5000, "2"], None, r"the label 99999999999999999999; expected numbers"),
        (["1", "", ""], None, "2 of 3 sequences have no label or -1, the first is y"),
        (["1", "0", "-1"], None, "1 of 3 sequences have no label or -1, the first is z"),
        (["1", "nan", "0"], None, r"1 of 3 .* the first is y \(nan\); expected a label for each"),
        (["a", "b", "\n"], None, "1 of 3 sequences have no label or -1, the first is z; expected"),
        (
            ["a", "b\nc", "d"],
            None,
            r"y: label 'b\\nc' with the character '\\n'; expected a name in",
        ),
        (["a", "b", "c\ud800"], None, r"z: label 'c\\ud800' with the character"),
        (["0", "2", "1"], ("a", "b"), "y: label 2; expected 0 to 1: classes.txt names 2"),
        (["a", "b", "c"], ("a", "b"), "z: label 'c'; expected a class of classes.txt"),
        (
            ["b", "a", "b"],
            ("a", "b", "a"),
            "y: label 'a'; expected a number: classes.txt has 2",
        ),
        (["0", "1", "1000000000"], None, "the label 1000000000; expected numbers of classes"),
    ],
)
def test_invalid_labels(told, classes, message):
    with pytest.raises(UserError, match=message):
        labels.numbered(told, ["x", "y", "z"], classes)


def test_a_name_among_numbers_is_told(capsys):
    assert labels.numbered(["10", "2", "walk"], list("xyz"), None)[1] == ("10", "2", "walk")
    told = "note: 2 of 3 labels are numbers, the first other is 'walk' of z: all are taken as names"
    assert told in capsys.readouterr().out
    labels.numbered(["run", "walk"], list("xy"), None)
    labels.numbered(["1", "0.0"], list("xy"), None)
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    ("found", "asked", "expected"),
    [
        (["train", "test"], ("", ""), ("train", "test")),
        (["val", "train"], ("", ""), ("train", "val")),
        (["xsub_val", "xsub_train"], ("", ""), ("xsub_train", "xsub_val")),
        (["train1", "test1", "extra"], ("", ""), ("train1", "test1")),
        (["Test", "Train"], ("", ""), ("Train", "Test")),
        (["TRAINING", "testing"], ("", ""), ("TRAINING", "testing")),
        (["a", "b", "c"], ("c", "a"), ("c", "a")),
        (["a", "b"], ("b", ""), ("b", "")),
        (["train"], ("", ""), ("train", "")),
    ],
)
def test_choice_of_splits(found, asked, expected):
    assert labels.choose_splits(found, *asked) == expected


@pytest.mark.parametrize(
    ("found", "asked", "message"),
    [
        (
            ["xsub_train", "xsub_val", "xview_train", "xview_val"],
            ("", ""),
            "one of: --train_split=xsub_train --test_split=xsub_val; --train_split=xview_train",
        ),
        (["train", "val", "test"], ("", ""), "--test_split=test; .*--test_split=val"),
        (["a", "b"], ("", ""), "the splits a, b; expected --train_split and --test_split to"),
        (["a", "b"], ("a", "c"), "--test_split is 'c'; the data has: a, b"),
        (["a", "b"], ("a", "a"), "both 'a'"),
        (["all"], ("", ""), "one split, all; expected --train_split=all .* or --test_fraction=0.2"),
    ],
)
def test_ambiguous_splits(found, asked, message):
    with pytest.raises(UserError, match=message):
        labels.choose_splits(found, *asked)
