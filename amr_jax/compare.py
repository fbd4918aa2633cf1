r"""Comparison of methods: pre-trains and evaluates each in the same way, and makes tables.

  python -m amr_jax.compare --config=configs/compare.py:ntu60_xsub --config.data_dir=DATA \
      --workdir=DIR

configs/ablation.py and configs/streams.py make other tables with the same command. Each row has a
folder DIR/ROW: the workdir of an ordinary pre-training run, which also holds the folders of its
protocols and, written last, `row.json`. With `config.seeds`, the further seeds of a row have
folders DIR/ROW/seedN of the same kind. The same command in the same workdir resumes with what is
missing, and `config.seeds` may rise. The tables are written after every row and seed.
"""

if __name__ == "__main__":  # before JAX is imported: --help answers at once
    from amr_jax.__main__ import script

    script("compare")


import argparse
import contextlib
import dataclasses
import os
from collections.abc import Iterator

import ml_collections
from etils import epath

from amr_jax.config import settings
from amr_jax.config.comparison import COMPARISON
from amr_jax.errors import UserError
from amr_jax.report import comparison as report
from amr_jax.report import page
from amr_jax.run import console, paths
from amr_jax.run.run import Run
from amr_jax.studies import cells, rows, tables
from amr_jax.studies.summed import Ensemble
from amr_jax.studies.trained import Training

# Keys that may differ between two starts in one workdir. Each row and each of its evaluations is
# checked against its folder, key by key.
FREE_KEYS = {"data_dir", "configs", "only", "seeds", "rows", "tables", "reference", "ours"}
FREE_KEYS |= {"overrides", "protocols", "protocol_overrides", "variants"}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What a comparison runs.

    Attributes:
      config: of configs/compare.py or a file like it.
      names: of all rows, in the order of the tables.
      cells: in the order in which they run: first all rows with the first seed, ensembles after
        the rows that they are made of. Rows that `config.only` leaves out are here if finished.
      chosen: names of the rows to run (`config.only`).
    """

    config: ml_collections.ConfigDict
    names: list[str]
    cells: list[Training | Ensemble]
    chosen: list[str]

    @classmethod
    def of(cls, config: ml_collections.ConfigDict, root: epath.Path) -> "Comparison":
        """Resolves every row, so that a wrong setting is an error before the first row trains."""
        names = rows.in_order(config)
        chosen = rows.chosen(config, names)
        kinds = {n: Ensemble if rows.is_ensemble(config.rows[n]) else Training for n in names}
        order = sorted(names, key=lambda name: kinds[name] is Ensemble)  # stable
        made = []
        for seed in range(config.seed, config.seed + config.seeds):
            for name in order:
                folder = cells.folder_of(root, config, name, seed)
                if name in chosen or cells.is_finished(
                    folder, kinds[name].protocols_of(config, name)
                ):
                    with _named(config, name, seed):
                        made.append(kinds[name].of(config, root, name, seed))
        return cls(config, names, made, chosen)

    def read_finished(self) -> dict[tuple[str, int], dict]:
        """The row.json of every finished cell, by row and seed."""
        finished = {}
        for cell in self.cells:
            with _named(self.config, cell.row, cell.seed):
                found = cell.read(finished)
            if found is not None:
                finished[cell.row, cell.seed] = found
        return finished

    def missing(self, finished: cells.Finished) -> list[Training | Ensemble]:
        """The cells to run, in order."""
        chosen = [cell for cell in self.cells if cell.row in self.chosen]
        return [cell for cell in chosen if (cell.row, cell.seed) not in finished]

    def tables(self, finished: cells.Finished) -> list[str]:
        """Names of the tables to write: those of two rows that are finished or to run.

        A row that is in many tables would be alone in most of them. A table that has one row only
        needs no second one; neither does any if no table has two.
        """
        rows = {name for name, _ in finished} | set(self.chosen)
        tables = self.config.tables
        count = {name: sum(row in rows for row in tables[name].rows) for name in tables}
        enough = min(2, max(count.values()))
        return [name for name in tables if count[name] >= min(enough, len(tables[name].rows))]

    def by_row(self, finished: cells.Finished) -> dict[str, list[dict]]:
        """Row -> the row.json of its finished seeds, in the order of the tables."""
        found = {
            name: [x for (row, _), x in finished.items() if row == name] for name in self.names
        }
        return {name: sorted(each, key=_seed) for name, each in found.items() if each}

    def report(self, run: Run, finished: cells.Finished, command: str) -> None:
        """Writes the report."""
        found = self.by_row(finished)
        page.write(run.workdir, lambda: report.content(run.workdir, command, found))


def run(
    config: ml_collections.ConfigDict, folder: os.PathLike | str, command: str = "not recorded"
) -> dict[str, list[dict]]:
    """Runs the rows and seeds that are missing, and writes and prints the tables.

    Args:
      config: of configs/compare.py or a file like it.
      folder: the workdir.
      command: the command line, for the tables' notes.

    Returns:
      For each row with a finished seed, in the order of the tables: the content of the row.json of
      its finished seeds.

    Raises:
      UserError: before any row trains: wrong settings, by row and key; a row that belongs to
        another config. At the end, after the other rows: what pre-training and evaluation raise,
        with the row's name before it.
    """
    config = settings.completed(config, COMPARISON)
    comparison = Comparison.of(config, paths.absolute(folder))
    with Run.open(paths.absolute(folder), config, FREE_KEYS) as run:
        run.record()
        finished, failed = comparison.read_finished(), {}  # error -> rows
        missing = comparison.missing(finished)
        with console.progress_bar("rows done", len(missing)) as advance:
            advance(0)
            for number, cell in enumerate(missing, start=1):
                name = _name(config, cell.row, cell.seed)
                title = config.rows[cell.row].title
                run.say(f"\n=== {name}: {title} ({number} of {len(missing)})")
                try:
                    finished[cell.row, cell.seed] = cell.run(finished)
                except UserError as error:
                    # Continue: later rows may take days, and do not depend on this one.
                    failed.setdefault(str(error), []).append(repr(name))
                    run.say(f"error: row {name!r}: {error}")
                    continue
                finally:
                    advance()
                changed = comparison.tables(finished)
                changed = [each for each in changed if cell.row in config.tables[each].rows]
                tables.write(run.workdir, config, comparison.by_row(finished), command, changed)
                comparison.report(run, finished, command)
        found = comparison.by_row(finished)
        if found:
            names = comparison.tables(finished)
            run.say("\n" + tables.write(run.workdir, config, found, command, names))
            run.say(f"all tables and pictures: {run.workdir}")
            comparison.report(run, finished, command)
    if failed:
        raise UserError(
            "\n".join(
                f"{'row' if len(names) == 1 else 'rows'} {'; '.join(names)}: {text}"
                for text, names in failed.items()
            )
        )
    return found


def _name(config: ml_collections.ConfigDict, row: str, seed: int) -> str:
    """A row's name; with several seeds, its seed too."""
    return row if config.seeds == 1 else f"{row}, seed {seed}"


def _seed(row: dict) -> int:
    return row["seed"]


@contextlib.contextmanager
def _named(config: ml_collections.ConfigDict, row: str, seed: int) -> Iterator[None]:
    """Puts the row's name before a `UserError`."""
    try:
        yield
    except UserError as error:
        raise UserError(f"row {_name(config, row, seed)!r}: {error}") from error


def main(config: ml_collections.ConfigDict, flags: argparse.Namespace) -> None:
    """The command; `flags` are those of `amr_jax.flags.compare`."""
    run(config, flags.workdir, flags.command)
