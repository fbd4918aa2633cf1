"""Reports of an evaluation: tables, and confusion matrices as counts and pictures."""

import csv
import io
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from amr_jax.evaluation.accuracy import standard_error
from amr_jax.evaluation.task import Column
from amr_jax.run import console

_MAX_CLASSES_WITH_NUMBERS = 20  # more classes leave no room for percentages in the cells
_MAX_NAME = 32  # characters of a class name on the axes of the picture


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts (K, K) int64: the row is the true class, the column the predicted one.

    Args:
      labels: (S,).
      predictions: (S,), or (draws, S), where each sequence counts once a draw.
      num_classes: K.
    """
    confusion = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(confusion, (np.broadcast_to(labels, predictions.shape), predictions), 1)
    return confusion


def per_class(class_names: Sequence[str], confusions: dict[str, np.ndarray]) -> list[list]:
    """The head, then one row a class: test sequences, and of those each encoder recognised.

    The accuracy on a class that does not occur in the test split is 'absent', not 0.

    Args:
      class_names: K names.
      confusions: name of the encoder -> (K, K), all of the same test sequences.
    """
    total = next(iter(confusions.values())).sum(axis=1)
    columns = [f"{encoder}_{what}" for encoder in confusions for what in ("correct", "accuracy")]
    rows = [["class", "name", "test_sequences", *columns]]
    for k, name in enumerate(class_names):
        row = [k, name, total[k]]
        for confusion in confusions.values():
            correct = confusion[k, k]
            row += [correct, f"{correct / total[k]:.4f}" if total[k] else "absent"]
        rows.append(row)
    return rows


def confusion_csv(class_names: Sequence[str], confusion: np.ndarray) -> str:
    """The counts; the first column names the true classes, the head the predicted ones."""
    head = ["true \\ predicted", *class_names]
    return csv_text([head, *([n, *row] for n, row in zip(class_names, confusion, strict=True))])


def csv_text(rows: Sequence[Sequence]) -> str:
    """Rows of cells as comma-separated lines."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


@matplotlib.rc_context({"text.parse_math": False})  # names of classes may have a $
def confusion_png(class_names: Sequence[str], confusion: np.ndarray, title: str) -> bytes:
    """The confusion matrix as a picture, in per cent of the true class; absent classes grey."""
    num_classes = len(class_names)
    total = confusion.sum(axis=1, keepdims=True)
    share = np.ma.masked_where(
        np.broadcast_to(total == 0, confusion.shape), 100 * confusion / np.maximum(total, 1)
    )
    # Room for one line of type per class, whatever their number.
    side, size = (0.5, 9) if num_classes <= _MAX_CLASSES_WITH_NUMBERS else (0.15, 7)
    names = [n if len(n) <= _MAX_NAME else n[: _MAX_NAME - 1] + "…" for n in class_names]
    figure = Figure(
        figsize=(side * num_classes + 4, side * num_classes + 3.4), layout="constrained"
    )
    axes = figure.add_subplot()
    axes.set_facecolor("0.7")
    # Square root, so that confusions of a few per cent are visible, too.
    image = axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=100))
    ticks = np.arange(num_classes)
    axes.set_xticks(ticks, [f"{k} {n}" for k, n in enumerate(names)], rotation=90, fontsize=size)
    row_names = [f"{n}{'' if total[k, 0] else ' (absent)'} {k}" for k, n in enumerate(names)]
    axes.set_yticks(ticks, row_names, fontsize=size)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title)
    figure.colorbar(image, ax=axes, label="% of the true class", shrink=0.6, aspect=30)
    if num_classes <= _MAX_CLASSES_WITH_NUMBERS:
        for i, j in zip(*np.nonzero(confusion), strict=True):
            colour = "white" if share[i, j] > 40 else "black"
            axes.text(
                j, i, f"{share[i, j]:.0f}", ha="center", va="center", color=colour, fontsize=8
            )
    return png(figure)


def png(figure: Figure) -> bytes:
    """A figure as the content of a .png file."""
    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content)
    return content.getvalue()


def draws(each: Sequence[dict[str, float]]) -> str:
    """Top-1 of each draw, and the meaning of ± in the table."""
    values = ", ".join(f"{100 * metrics['top1']:.2f}" for metrics in each)
    spread = "; ± is the sample standard deviation over them" if len(each) > 1 else ""
    return f"top-1 % of each of {len(each)} draws: {values}{spread}"


def table(rows: dict[str, dict[str, float]], columns: Sequence[Column] = ()) -> str:
    """The comparison of encoders for the terminal; arguments as of `cells`."""
    return console.table(*cells(rows, columns))


def cells(
    rows: dict[str, dict[str, float]], columns: Sequence[Column] = ()
) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the comparison of encoders; a column may have no text in any row.

    Args:
      rows: name of the encoder -> its metrics, accuracies as fractions.
      columns: more metrics to show.
    """

    def per_cent(metrics: dict, key: str) -> str:
        spread = f" ± {100 * metrics[f'{key}_std']:.2f}" if f"{key}_std" in metrics else ""
        return f"{100 * metrics[key]:.2f}{spread}" if key in metrics else ""

    def best(metrics: dict) -> str:
        if "best_epoch" not in metrics:
            return ""
        epoch = f"epoch {metrics['best_epoch']} of {metrics['epochs']}"
        return f"{per_cent(metrics, 'best_epoch_top1')} ({epoch})"

    columns = [c for c in columns if c.belongs(m.get(c.key) for m in rows.values())]
    further = [column.head for column in columns]
    head = ["encoder", "top-1 %", "top-5 %", *further, "best epoch on the test set: top-1 %"]
    lines = [
        [
            name,
            per_cent(metrics, "top1"),
            per_cent(metrics, "top5"),
            *(c.text(metrics[c.key]) if c.key in metrics else "" for c in columns),
            best(metrics),
        ]
        for name, metrics in rows.items()
    ]
    return head, lines


def noise(rows: dict[str, dict[str, float]], num_test: int) -> str:
    """The standard error that the size of the test set gives to the best accuracy of a table."""
    best = max(metrics["top1"] for metrics in rows.values())
    return (
        f"{num_test:,} test sequences: the standard error of {100 * best:.1f} % is "
        f"{100 * standard_error(best, num_test):.1f} points, without the variation between seeds."
    )
