"""Lines of a table: the raw numbers of a row with each of its seeds, their means and deviations."""

import dataclasses
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from amr_jax.evaluation.accuracy import standard_error
from amr_jax.studies import published

MISSING = "–"  # in a table, where there is no number

# Encoders that are judged without pre-training: name in results -> title in tables.
UNTRAINED = {"random": "random encoder", "raw": "raw coordinates"}

# The numbers of one cell: key of a `Column` -> raw value, or None.
Record = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of a table.

    Attributes:
      row: name of the row; of an untrained encoder, a name that begins with 'random' or 'raw'.
      each: seed -> its record; at least one.
      is_random: whether it is a random encoder, or the raw coordinates.
    """

    row: str
    each: dict[int, Record]
    is_random: bool = False

    def __getitem__(self, key: str) -> Any:
        """The mean over the seeds; the value itself where it is the same for all."""
        values = self._known(key)
        if not values:
            return None
        return values[0] if len(set(values)) == 1 else statistics.fmean(values)

    def std(self, key: str) -> float | None:
        """Sample standard deviation (n − 1) over the seeds; None of fewer than two."""
        values = self._known(key)
        return statistics.stdev(values) if len(values) > 1 else None

    def error(self, key: str, num_test: int) -> float:
        """Standard error of a mean accuracy: that of the test set, and that of the seeds."""
        of_seeds = (self.std(key) or 0.0) / math.sqrt(len(self._known(key)))
        return math.hypot(standard_error(self[key], num_test), of_seeds)

    def _known(self, key: str) -> list:
        found = (record.get(key) for record in self.each.values())
        return [value for value in found if value is not None]


def of_rows(
    rows: Sequence[Sequence[dict]],
    reference: Sequence[dict],
    accuracies_on: str,
    finished: Iterable[dict],
) -> list[Line]:
    """The lines of a table; the last ones are those of random encoders and raw coordinates.

    Args:
      rows: for each row the row.json of its seeds; at least one row with one seed.
      reference: the same of the row that speed-ups are relative to; empty if it is not finished.
      accuracies_on: data set of the published accuracies.
      finished: row.json of all finished cells; random encoders are looked up in them.
    """
    seconds = {cell["seed"]: _epoch_seconds(cell) for cell in reference}
    lines = [
        Line(
            row[0]["row"],
            {c["seed"]: _record(c, seconds.get(c["seed"]), accuracies_on) for c in row},
        )
        for row in rows
    ]
    finished = list(finished)
    return lines + [
        x for key, name in UNTRAINED.items() for x in _untrained(rows, finished, key, name)
    ]


def _record(cell: dict, of_reference: float | None, accuracies_on: str) -> Record:
    """The numbers of one cell.

    Args:
      cell: its row.json.
      of_reference: seconds of an epoch of the reference with the same seed.
      accuracies_on: data set of the published accuracies.
    """
    costs, figures, epoch = cell["costs"], published.of(cell["row"]), _epoch_seconds(cell)
    return {
        "method": cell["title"],
        "epochs": cell.get("epochs"),
        "predicted_patches": costs["num_predicted"],
        "parameters": costs["parameters"],
        "linear_layer_gflops": costs["linear_gflops"],
        "compiler_gflops": costs["compiler_gflops"],
        "training_seconds": cell["training_seconds"],
        "speed_up": of_reference / epoch if of_reference and epoch else None,
        "step_bytes": costs["step_bytes"],
        **{metric_key(name): x for name, x in cell.get("last_metrics", {}).items()},
        **_accuracies({name: found["pretrained"] for name, found in cell["protocols"].items()}),
        **{f"published_{key}": value for key, value in figures.costs().items()},
        "published_linear_top1": figures.linear.get(accuracies_on),
    }


def _untrained(
    rows: Sequence[Sequence[dict]], finished: Iterable[dict], encoder: str, title: str
) -> list[Line]:
    """A line for each untrained encoder of the rows that differs from the others.

    One that several rows share was evaluated with the first of them, which may be in another table.
    """
    owners: dict[tuple, dict] = {}
    for row in rows:
        owners.setdefault(tuple(sorted(row[0]["untrained"].items())), row[0])
    found: dict[str, dict[int, dict]] = {owner["row"]: {} for owner in owners.values()}
    for cell in finished:
        for name, encoders in cell["protocols"].items():
            for owner in owners.values():
                same = cell["untrained"].get(name) == owner["untrained"].get(name)
                if same and encoder in encoders:
                    judged = found[owner["row"]].setdefault(cell["seed"], {})
                    judged.setdefault(name, encoders[encoder])
    titles = {owner["row"]: f": {owner['title']}" for owner in owners.values()}
    several = sum(map(bool, found.values())) > 1
    return [
        Line(
            f"{encoder}_{row}" if several else encoder,
            {
                seed: {"method": f"{title}{titles[row] * several}", **_accuracies(judged)}
                for seed, judged in sorted(each.items())
            },
            is_random=True,
        )
        for row, each in found.items()
        if each
    ]


def _epoch_seconds(cell: dict) -> float | None:
    """Seconds of an epoch; None where they were not measured, and of an ensemble."""
    seconds, epochs = cell["training_seconds"], cell.get("epochs")
    return seconds / epochs if seconds and epochs else None


def _accuracies(judged: Mapping[str, dict]) -> Record:
    """The accuracies and further metrics of an encoder, from its metrics by protocol."""
    return {
        number_key(name, metric): value
        for name, metrics in judged.items()
        for metric, value in metrics.items()
    }


def number_key(protocol: str, metric: str = "top1") -> str:
    """The key of a metric of a protocol, or of a variant of one, by its name."""
    return f"{protocol}_{metric}"


def metric_key(metric: str) -> str:
    """The key of the last value of a metric of pre-training."""
    return f"metric_{metric}"
