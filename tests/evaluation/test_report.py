"""Tables and pictures: exact counts, absent classes named as such."""

import csv
import io

import hypothesis
import hypothesis.strategies as st
import matplotlib.image
import numpy as np
import pytest

from amr_jax.evaluation import report
from amr_jax.evaluation.protocols import PROTOCOLS

NAMES = ("drink, water", "eat", "never seen")
LABELS = np.array([0, 0, 0, 1, 1])
PREDICTIONS = np.array([0, 0, 2, 0, 1])
CONFUSION = [[2, 0, 1], [1, 1, 0], [0, 0, 0]]


def test_confusion_matrix_has_true_classes_in_rows():
    np.testing.assert_array_equal(report.confusion_matrix(LABELS, PREDICTIONS, 3), CONFUSION)


@hypothesis.given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1))
def test_every_sequence_is_counted_once(pairs):
    labels, predictions = np.array(pairs).T
    confusion = report.confusion_matrix(labels, predictions, 5)
    assert confusion.sum() == len(pairs)
    assert np.trace(confusion) == (labels == predictions).sum()


def test_per_class_table_calls_an_absent_class_absent():
    other = report.confusion_matrix(LABELS, np.array([1, 1, 1, 1, 1]), 3)
    rows = report.per_class(NAMES, {"pretrained": np.array(CONFUSION), "random": other})
    text = report.csv_text(rows)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["name"] for row in rows] == list(NAMES)
    assert [row["test_sequences"] for row in rows] == ["3", "2", "0"]
    assert [row["pretrained_correct"] for row in rows] == ["2", "1", "0"]
    assert [row["pretrained_accuracy"] for row in rows] == ["0.6667", "0.5000", "absent"]
    assert [row["random_accuracy"] for row in rows] == ["0.0000", "1.0000", "absent"]


def test_confusion_as_csv_reads_back():
    rows = list(csv.reader(io.StringIO(report.confusion_csv(NAMES, np.array(CONFUSION)))))
    assert rows[0][1:] == [row[0] for row in rows[1:]] == list(NAMES)
    np.testing.assert_array_equal([[int(n) for n in row[1:]] for row in rows[1:]], CONFUSION)


@pytest.mark.parametrize("num_classes", [2, 60])
def test_picture_is_a_png_that_grows_with_the_classes(num_classes):
    names = [f"class {k} with quite a long name, really" for k in range(num_classes)]
    confusion = np.zeros((num_classes, num_classes), np.int64)
    confusion[0, 1] = 3
    image = matplotlib.image.imread(
        io.BytesIO(report.confusion_png(names, confusion, "a title")), format="png"
    )
    # Room for a line of type per class.
    assert min(image.shape[:2]) > max(300, 14 * num_classes)


def test_a_name_with_dollars_is_no_mathematics():
    names = [r"$\nonsense$", "a price of $ 2 or $ 3"]
    assert report.confusion_png(names, np.eye(2, dtype=np.int64), names[0]).startswith(b"\x89PNG")


def test_table_names_the_best_epoch_and_leaves_out_columns_without_values():
    linear = {"top1": 0.8, "top5": 0.99, "epochs": 100, "best_epoch": 93, "best_epoch_top1": 0.815}
    text = report.table({"pretrained": linear, "random": {**linear, "top1": 0.1}})
    assert [" ".join(line.split()) for line in text.splitlines()] == [
        "encoder top-1 % top-5 % best epoch on the test set: top-1 %",
        "pretrained 80.00 99.00 81.50 (epoch 93 of 100)",
        "random 10.00 99.00 81.50 (epoch 93 of 100)",
    ]
    assert report.table({"a": {"top1": 0.5}}).split() == ["encoder", "top-1", "%", "a", "50.00"]


def test_table_shows_deviations_and_the_columns_of_the_protocol():
    head, row = report.table({"a": {"top1": 0.5, "top1_std": 0.0123}}).splitlines()
    assert row.split() == ["a", "50.00", "±", "1.23"]
    metrics = {"top1": 0.5, "mean_average_precision": 0.25}
    head, row = report.table({"a": metrics}, PROTOCOLS["retrieval"].columns).splitlines()
    assert head.split() == ["encoder", "top-1", "%", "mAP", "%"]
    assert row.split() == ["a", "50.00", "25.00"]


def test_confusion_counts_every_draw():
    confusion = report.confusion_matrix(np.array([0, 1]), np.array([[0, 1], [1, 1]]), 2)
    np.testing.assert_array_equal(confusion, [[1, 1], [0, 2]])


def test_draws():
    assert report.draws([{"top1": 0.5}]) == "top-1 % of each of 1 draws: 50.00"
    text = report.draws([{"top1": 0.5}, {"top1": 0.25}])
    assert "50.00, 25.00; ± is the sample standard deviation" in text


def test_noise():
    text = report.noise({"a": {"top1": 0.9}, "b": {"top1": 0.5}}, 100)
    assert text.startswith("100 test sequences: the standard error of 90.0 % is 3.0 points")
