"""What there is to show of an evaluation: tables, and confusion matrices as counts and pictures."""

import csv
import io
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

# Up to so many classes, a cell has room for its percentage.
_MAX_CLASSES_WITH_NUMBERS = 20
_MAX_NAME = 32  # characters of a class name on the picture's axes


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts (K, K) int64: row the true class, column the predicted one.

    Labels (S,), predictions (S,), or (draws, S): then each sequence counts once a draw.
    """
    confusion = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(confusion, (np.broadcast_to(labels, predictions.shape), predictions), 1)
    return confusion


def per_class_accuracy(confusion: np.ndarray) -> np.ndarray:
    """(K,) fraction of each class's sequences that were recognised; NaN for a class without any."""
    total = confusion.sum(axis=1)
    return np.where(total > 0, np.diag(confusion) / np.maximum(total, 1), np.nan)


def per_class_csv(class_names: Sequence[str], confusions: dict[str, np.ndarray]) -> str:
    """One line a class: its test sequences and, for each encoder, how many of them were recognised.

    A class that does not occur in the test has 'absent' for its accuracies, not 0.

    Args:
      class_names: K names.
      confusions: encoder's name -> (K, K), all of the same test sequences. A protocol of several
        draws counts each sequence once a draw.
    """
    total = next(iter(confusions.values())).sum(axis=1)
    columns = [f"{encoder}_{what}" for encoder in confusions for what in ("correct", "accuracy")]
    rows = [["class", "name", "test_sequences", *columns]]
    for k, name in enumerate(class_names):
        row = [k, name, total[k]]
        for confusion in confusions.values():
            accuracy = per_class_accuracy(confusion)[k]
            row += [confusion[k, k], "absent" if np.isnan(accuracy) else f"{accuracy:.4f}"]
        rows.append(row)
    return csv_text(rows)


def confusion_csv(class_names: Sequence[str], confusion: np.ndarray) -> str:
    """The counts, with the true classes' names in the first column, the predicted in the head."""
    head = ["true \\ predicted", *class_names]
    return csv_text([head, *([n, *row] for n, row in zip(class_names, confusion, strict=True))])


def csv_text(rows: Sequence[Sequence]) -> str:
    """Rows of cells as comma-separated lines."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def confusion_png(class_names: Sequence[str], confusion: np.ndarray, title: str) -> bytes:
    """The confusion matrix as a picture: each row in per cent of its class, absent classes grey."""
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
    # Square root: among many classes a confusion of a few per cent is to be seen, too.
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
    """Top-1 of each draw, and what the mean ± means."""
    values = ", ".join(f"{100 * metrics['top1']:.2f}" for metrics in each)
    spread = "; ± is the sample standard deviation over them" if len(each) > 1 else ""
    return f"top-1 % of each of {len(each)} draws: {values}{spread}"


def table(rows: dict[str, dict[str, float]]) -> str:
    """The comparison for the terminal, one line an encoder.

    Args:
      rows: encoder's name -> its metrics, fractions. Columns that no protocol fills are left out.
    """
    metrics = list(rows.values())
    head, lines = ["encoder"], [[name] for name in rows]

    def column(title: str, key: str, text):
        if all(key in m for m in metrics):
            head.append(title)
            for line, m in zip(lines, metrics, strict=True):
                line.append(text(m))

    def per_cent(key: str):
        def text(m):
            spread = f" ± {100 * m[f'{key}_std']:.2f}" if f"{key}_std" in m else ""
            return f"{100 * m[key]:.2f}{spread}"

        return text

    column("top-1 %", "top1", per_cent("top1"))
    column("top-5 %", "top5", per_cent("top5"))
    column("mAP %", "mean_average_precision", per_cent("mean_average_precision"))
    column(
        "best epoch on the test set: top-1 %",
        "best_epoch",
        lambda m: f"{100 * m['best_epoch_top1']:.2f} (epoch {m['best_epoch']} of {m['epochs']})",
    )
    widths = [max(map(len, cells)) for cells in zip(head, *lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in (head, *lines)
    )
