"""Tables of several data sets: for each protocol, titles of rows × data sets."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import ml_collections

from amr_jax.config import files
from amr_jax.data import datasets
from amr_jax.evaluation import latex, report
from amr_jax.evaluation.protocols import knn
from amr_jax.studies import notes, published, rows
from amr_jax.studies.lines import MISSING, UNTRAINED, Line

_FROM_SCRATCH = "from scratch"  # what a random encoder is in a protocol that trains it
_WITHOUT_TWINS = ", without twins"  # of a set: a column beside it, where it has twins


@dataclasses.dataclass(frozen=True)
class Pivot:
    """The numbers of such a table.

    Attributes:
      sets: names of the data sets, as in `datasets.short`, and of those without twins.
      protocols: names.
      lines: by title. The key of a number is `rows.key(protocol, set)`.
      gains: lines of differences between two of them, seed by seed.
      sequences: data set -> training and test sequences, of the sets with a result.
    """

    sets: list[str]
    protocols: list[str]
    lines: list[Line]
    gains: list[Line]
    sequences: dict[str, tuple[int, int]]

    @classmethod
    def of(
        cls,
        config: ml_collections.ConfigDict,
        table: ml_collections.ConfigDict,
        finished: Mapping[str, Sequence[dict]],
    ) -> "Pivot":
        """Arguments as of `tables.write`; the title of a cell is that of its row."""
        here = [cell for name in table.rows for cell in finished.get(name, ())]
        judged = (name for row in table.rows for name in rows.judged_on(config, row))
        sets = list(dict.fromkeys(map(datasets.short, judged)))
        found: dict[str, dict[int, dict]] = {}
        for cell in here:
            record = found.setdefault(cell["title"], {}).setdefault(cell["seed"], {})
            for key, encoders in cell["protocols"].items():
                record |= _accuracies(key, encoders["pretrained"])
        trained = [Line(title, each) for title, each in found.items()]
        everything = [cell for each in finished.values() for cell in each]
        lines = [*_untrained(here, everything), *trained]
        known = {
            key.rpartition("/")[0] for line in lines for each in line.each.values() for key in each
        }
        sets = [
            one for name in sets for one in (name, name + _WITHOUT_TWINS) if one in {name, *known}
        ]
        gains = [_gain(found, *pair) for pair in table.gains if {*pair} <= found.keys()]
        sequences = {
            key.partition("/")[0]: tuple(counts)
            for cell in here
            for key, counts in cell["sequences"].items()
        }
        return cls(sets, list(config.protocols), lines, gains, sequences)


def table(
    config: ml_collections.ConfigDict,
    table: ml_collections.ConfigDict,
    finished: Mapping[str, Sequence[dict]],
    command: str,
) -> dict[str, str]:
    """Files by their ending: `md` with notes, `csv`, `tex`; arguments as of `tables.write`."""
    pivot = Pivot.of(config, table, finished)
    titles = {name: f"{rows.judges(config)[name].title}, top-1 %" for name in pivot.protocols}
    parts = {name: _part(config, pivot, name) for name in pivot.protocols}
    under = "\n".join(f"- {text}" for text in _notes(config, table, pivot, finished, command))
    markdown, tex = [f"## {table.title}"], [f"% {line}" for line in under.splitlines()]
    for name, (head, *lines) in parts.items():
        texts = (" | ".join(row) for row in (head, ["---"] * len(head), *lines))
        markdown.append(f"### {titles[name]}\n\n" + "\n".join(f"| {text} |" for text in texts))
        tex.append(latex.table(head, lines, f"{table.title}: {titles[name]}", name))
    return {"md": "\n\n".join([*markdown, under]) + "\n", "csv": _csv(pivot), "tex": "\n".join(tex)}


def _accuracies(key: str, result: Mapping[str, float]) -> dict[str, float]:
    """The accuracy in a result, by its key, and the one without twins, if there are any."""
    name, _, protocol = key.rpartition("/")
    other = result.get(knn.WITHOUT_TWINS.key)
    return {key: result["top1"]} | (
        {} if other is None else {rows.key(protocol, name + _WITHOUT_TWINS): other}
    )


def _untrained(here: Sequence[dict], everything: Sequence[dict]) -> list[Line]:
    """The lines of encoders without pre-training: one for each group of rows that share them.

    Titles whose rows share such a result on one data set share it on all.
    """
    groups: dict[str, str] = {}  # title -> the first title with the same results
    first: dict[tuple[str, str], str] = {}  # key and checksum -> a title that has it
    for cell in here:
        group = groups.setdefault(cell["title"], cell["title"])
        for same in cell["untrained"].items():
            other = groups[first.setdefault(same, cell["title"])]
            groups = {title: other if g == group else g for title, g in groups.items()}
            group = other
    made = []
    for encoder, name in UNTRAINED.items():
        found: dict[str, dict[int, dict]] = {}
        for cell in everything:
            for same in cell["untrained"].items():
                result = cell["protocols"].get(same[0], {}).get(encoder)
                if same in first and result is not None:
                    each = found.setdefault(groups[first[same]], {})
                    record = each.setdefault(cell["seed"], {})
                    each[cell["seed"]] = _accuracies(same[0], result) | record
        made += [
            Line(f"{name}, as in {title}" if len(found) > 1 else name, each, is_random=True)
            for title, each in found.items()
        ]
    return made


def _gain(found: Mapping[str, Mapping[int, dict]], title: str, over: str) -> Line:
    """The difference between the lines of two titles, of the seeds that both have."""
    ours, others = found[title], found[over]
    each = {
        seed: {key: x - others[seed][key] for key, x in ours[seed].items() if key in others[seed]}
        for seed in ours.keys() & others.keys()
    }
    return Line(f"{title} − {over}", each)


def _part(config: ml_collections.ConfigDict, pivot: Pivot, protocol: str) -> list[list[str]]:
    """The head and the lines of the part of a protocol."""
    sets = [
        name
        for name in pivot.sets
        if not name.endswith(_WITHOUT_TWINS)
        or any(line[rows.key(protocol, name)] is not None for line in pivot.lines)
    ]
    keys = [rows.key(protocol, name) for name in sets]
    head = ["pre-training", *sets]
    texts = [head]
    for line in pivot.lines:
        if any(line[key] is not None for key in keys):
            texts.append(
                [
                    _title(line, rows.protocol_of(config, protocol)),
                    *(_percent(line, key) for key in keys),
                ]
            )
    for line in pivot.gains:
        if any(line[key] is not None for key in keys):
            texts.append([line.row, *(_percent(line, key, "+") for key in keys)])
    known = [published.SMALL_SETS.get(name, MISSING) for name in sets]
    if {*known} != {MISSING} and rows.protocol_of(config, protocol) != "semi":
        texts.append(["published, all labels", *known])
    return texts


def _title(line: Line, protocol: str) -> str:
    """The title of a line in the part of a protocol."""
    if line.is_random and "scratch" in files.settings_of("protocol", protocol):
        return line.row.replace(UNTRAINED["random"], _FROM_SCRATCH)
    return line.row


def _percent(line: Line, key: str, sign: str = "") -> str:
    """The mean of a number, and its deviation where there are several seeds."""
    if line[key] is None:
        return MISSING
    spread = line.std(key)
    more = "" if spread is None else f" ± {100 * spread:.1f}"
    return f"{100 * line[key]:{sign}.1f}{more}"


def _csv(pivot: Pivot) -> str:
    """The fractions, one a line: of each seed, their mean and sample standard deviation."""
    head = ["line", "set", "protocol", "seed", "top1", "train_sequences", "test_sequences"]
    return report.csv_text([head, *_numbers(pivot)])


def _numbers(pivot: Pivot) -> Iterator[list]:
    for line in (*pivot.lines, *pivot.gains):
        for protocol in pivot.protocols:
            for name in pivot.sets:
                key = rows.key(protocol, name)
                if line[key] is None:
                    continue
                counts = pivot.sequences[name.removesuffix(_WITHOUT_TWINS)]
                values = {
                    seed: each[key] for seed, each in sorted(line.each.items()) if key in each
                }
                values |= {"mean": line[key], "std": line.std(key)}
                for seed, value in values.items():
                    yield [line.row, name, protocol, seed, value, *counts]


def _notes(
    config: ml_collections.ConfigDict,
    table: ml_collections.ConfigDict,
    pivot: Pivot,
    finished: Mapping[str, Sequence[dict]],
    command: str,
) -> Iterator[str]:
    """The notes under the table."""
    here = [cell for name in table.rows for cell in finished.get(name, ())]
    seeds = ", ".join(str(config.seed + i) for i in range(config.seeds))
    spread = " A number is the mean ± the sample standard deviation (n − 1) of the finished ones."
    yield (
        f"Seeds of pre-training and evaluation: {seeds}.{spread * (config.seeds > 1)} The noise of "
        "the test set, √(p(1 − p)/n) for an accuracy p on n sequences, comes on top."
    )
    counts = [f"{name} {train:,} / {test:,}" for name, (train, test) in pivot.sequences.items()]
    yield f"Training / test sequences: {', '.join(counts)}."
    if config.validation:
        yield notes.VALIDATION
    if any(name.endswith(_WITHOUT_TWINS) for name in pivot.sets):
        yield knn.WITHOUT_TWINS.note
    epochs = dict.fromkeys(f"{cell['epochs']:g}" for cell in here)
    yield (
        f"Epochs of pre-training: {', '.join(epochs)}. On several sets an epoch has the steps of "
        "all of them."
    )
    done = sum(len(finished.get(name, ())) for name in table.rows)
    total = config.seeds * len(table.rows)
    if done < total:
        yield f"Not finished yet: {total - done} of {total} pre-trainings with their evaluations."
    yield (
        "Published: supervised, skeletons alone, protocols differ between papers; on NW-UCLA "
        "(cross-view) the linear probe of self-supervised encoders."
    )
    versions = dict.fromkeys(
        ", ".join(f"{key} {cell['versions'][key]}" for key in ("amr_jax", "jax", "devices"))
        for cell in here
    )
    last = max(cell["finished"] for cell in here)
    yield f"{'; '.join(versions)}. Last row finished: {last}. Command: `{command}`"
