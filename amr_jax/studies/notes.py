"""The notes under a table: which rows are better, what the numbers are, and where they are from."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import ml_collections

from amr_jax.evaluation.accuracy import standard_error
from amr_jax.evaluation.task import Protocol
from amr_jax.studies import published, rows
from amr_jax.studies.lines import Line, metric_key, number_key

VALIDATION = (
    "Every row is trained and judged on parts of the training split, for validation: the test "
    "sequences of this table are not those of the test split."
)

_PUBLISHED = (
    "Published figures: NTU-60 x-sub, one L20 GPU, 400 epochs; GFLOPs of the linear layers for two "
    "bodies; speed-up relative to MAMP."
)


def verdict(lines: Sequence[Line], ours: str, num_test: int, judges: Mapping[str, Protocol]) -> str:
    """Lists the rows that are better than row `ours` in accuracy or cost, by the same rule for all.

    An accuracy is better beyond the noise if it leads by more than twice the standard error of the
    difference (`Line.error`). With one seed, the variation between seeds is not part of that error.
    """
    own = next((line for line in lines if line.row == ours), None)
    if own is None:
        return f"{ours} is not finished: there is no comparison yet."

    def better(key: str, sign: int = -1) -> list[Line]:
        """The rows with less of `key` than `ours` has; with sign = 1, with more."""
        known = [line for line in lines if None not in (line[key], own[key])]
        return [line for line in known if sign * (line[key] - own[key]) > 0]

    clearly, barely = [], []
    for name, protocol in judges.items():
        key = number_key(name)
        for line in better(key, sign=1):
            lead = line[key] - own[key]
            noise = math.hypot(own.error(key, num_test), line.error(key, num_test))
            (clearly if lead > 2 * noise else barely).append(
                f"{line['method']} ({protocol.title}, +{100 * lead:.1f})"
            )
    noise = "twice the standard error of the difference"
    ahead = {
        f"Ahead of {own['method']} by more than {noise}": clearly,
        "Ahead within that noise": barely,
        "Faster to train": [line["method"] for line in better("speed_up", sign=1)],
        "Fewer GFLOPs (linear layers)": [line["method"] for line in better("linear_layer_gflops")],
        "Fewer GFLOPs (compiler)": [line["method"] for line in better("compiler_gflops")],
        "Less memory": [line["method"] for line in better("step_bytes")],
    }
    return " ".join(f"{what}: {', '.join(names) or 'none'}." for what, names in ahead.items())


def under(
    config: ml_collections.ConfigDict,
    table: ml_collections.ConfigDict,
    lines: Sequence[Line],
    finished: Mapping[str, Sequence[dict]],
    command: str,
) -> str:
    """The notes under a table, as a Markdown list.

    Args:
      config: config of the comparison.
      table: the table, one of `config.tables`.
      lines: its lines.
      finished: row -> row.json of its finished seeds.
      command: command line of the last start.
    """
    judges = rows.judges(config)
    here = [cell for name in table.rows for cell in finished.get(name, ())]
    ensembles = [
        finished[name][0] for name in table.rows if "members" in finished.get(name, [{}])[0]
    ]
    trained = _trained(here, finished)

    def each(text: Callable[[dict], str]) -> str:
        return "; ".join(dict.fromkeys(text(cell) for cell in trained))

    def encoder(cell: dict) -> str:
        sizes = cell["encoder"]
        return f"T = {sizes['num_frames']}, width {sizes['width']}, depth {sizes['depth']}"

    def versions(cell: dict) -> str:
        found = cell["versions"]
        return ", ".join(f"{key} {found[key]}" for key in ("amr_jax", "jax", "jaxlib", "flax"))

    num_test = here[0]["test_sequences"]
    budget = (
        f"every row trains for {config.seconds:,.0f} s at the rate of a short run before it"
        if config.budget == "seconds"
        else "every row trains for the epochs in its line"
    )
    texts = [
        verdict(lines, config.ours, num_test, judges),
        _missing(config, table, finished),
        f"{config.dataset}: {here[0]['train_sequences']:,} training and {num_test:,} test "
        f"sequences. {_noise(config, lines, num_test)}",
        _twins(here[0]),
        VALIDATION if config.validation else "",
        *(_sum(cell, config) for cell in ensembles),
        f"Budget: {budget}. Encoder: {each(encoder)}; {each(lambda r: r['dtype'])}; "
        f"attention by {each(lambda r: r['attention_kernel'])}; batch "
        f"{each(lambda r: str(r['batch_size']))}. Trained on "
        f"{each(lambda r: r['records'])}.",
        "Training time: all steps at the rate of the timed ones, without compilation; the speed-up "
        "is per epoch. Other work on the machine slows training down.",
        "GFLOPs: a forward pass of one sequence (bodies: "
        f"{each(lambda r: str(r['bodies']))}). Peak memory: a training step on one device, by the "
        "compiler.",
        *(
            column.note
            for judge in judges.values()
            for column in judge.columns
            if column.belongs(line[column.key] for line in lines)
        ),
        *(
            f"{head}: the metric `{name}` of pre-training, the mean over its last dispatch."
            for name, head in table.get("metrics", {}).items()
            if any(line[metric_key(name)] is not None for line in lines)
        ),
        _PUBLISHED if any(name in published.ROWS for name in table.rows) else "",
        f"Device: {each(lambda r: r['versions']['devices'])}. {each(versions)}. "
        f"Last row finished: {max(cell['finished'] for cell in here)}. Command: `{command}`",
    ]
    return "\n".join(f"- {text}" for text in dict.fromkeys(texts) if text)


def _trained(cells: Iterable[dict], finished: Mapping[str, Sequence[dict]]) -> list[dict]:
    """The cells that trained; in place of an ensemble, those of its members."""
    return [
        one
        for cell in cells
        for name in [member["row"] for member in cell.get("members", ())] or [None]
        for one in ([cell] if name is None else finished[name])
    ]


def _missing(
    config: ml_collections.ConfigDict,
    table: ml_collections.ConfigDict,
    finished: Mapping[str, Sequence[dict]],
) -> str:
    """The rows that are not finished, or not with all seeds."""
    missing = []
    for name in table.rows:
        done = len(finished.get(name, ()))
        if done < config.seeds:
            missing.append(f"{name} ({done} of {config.seeds} seeds)" if done else name)
    return f"Not finished yet: {', '.join(missing)}." if missing else ""


def _noise(config: ml_collections.ConfigDict, lines: Sequence[Line], num_test: int) -> str:
    """The seeds, what ± is, and the standard error that the size of the test set gives."""
    keys = [number_key(name) for name in config.protocols]
    known = [line[key] for line in lines if not line.is_random for key in keys]
    best = max(accuracy for accuracy in known if accuracy is not None)
    error = (
        f"the standard error of an accuracy on that many test sequences is "
        f"{100 * standard_error(best, num_test):.1f} points at {100 * best:.1f} %"
    )
    if config.seeds == 1:
        return f"One seed ({config.seed}); {error}."
    seeds = ", ".join(str(config.seed + i) for i in range(config.seeds))
    return (
        f"{config.seeds} seeds ({seeds}) of pre-training and evaluation: a measured value is their "
        "mean ± their sample standard deviation (n − 1). It does not contain the noise of the test "
        f"set: {error} (binomial). The comparison above adds both: the deviation over √n, and the "
        "binomial error."
    )


def _twins(cell: dict) -> str:
    """How many test sequences show a performance of the training split."""
    count = cell.get("test_sequences_with_twin", 0)  # absent in rows of earlier versions
    if not count:
        return ""
    return (
        f"{count:,} of {cell['test_sequences']:,} test sequences have a twin in the training "
        "split: the same performance, seen by another camera."
    )


def _sum(cell: dict, config: ml_collections.ConfigDict) -> str:
    """What an ensemble sums."""
    parts = " + ".join(
        f"{member['weight']:g} × {config.rows[member['row']].title}" for member in cell["members"]
    )
    return (
        f"{config.rows[cell['row']].title}: the softmax of the logits, {parts}, of the same seed. "
        "Its costs are the sums of theirs."
    )
