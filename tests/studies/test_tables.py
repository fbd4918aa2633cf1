"""Tables from hand-made rows: every cell, the raw numbers, and the comparison of rows."""

import csv
import io

import matplotlib.image
import pytest

from amr_jax.evaluation.task import Protocol
from amr_jax.studies import tables
from configs import ablation, compare
from tests.studies.handmade import row

ROWS = [
    row("mamp", linear=0.7, knn=0.62, title="MAMP", training_seconds=1200.0),
    row("nat", linear=0.9, title="NAT", training_seconds=None, epochs=30.5),
    row("amr", linear=0.68, knn=0.65, title="AMR", costs={"linear_gflops": 0.0625}),
]
SHOWN = tables.columns("MAMP", "ntu60_xsub", ("linear", "knn"))


def lines_of(rows=ROWS, reference=ROWS[0]):
    return tables.records(rows, reference, "ntu60_xsub", rows)


def test_markdown():
    text = tables.markdown("Methods", lines_of(), SHOWN, "- a note")
    assert text == (
        "## Methods\n"
        "\n"
        "| method | epochs | predicted patches | parameters | GFLOPs a sequence, linear layers "
        "| GFLOPs a sequence, compiler | training time | speed-up against MAMP "
        "| peak memory of a step | linear % | 1-NN % | feature std | published: predicted patches "
        "| published: GFLOPs | published: training | published: speed-up "
        "| published: linear % (ntu60_xsub) |\n" + "| --- " * 17 + "|\n"
        "| MAMP | 60 | 40 | 1,234,567 | 0.25 | 0.5 | 20:00 | 1.00× | 3 MiB | 70.0 | 62.0 | 0.625 "
        "| 750 | 13.7 | 29.9 h | 1.0× | 84.9 |\n"
        "| NAT | 30.5 | 40 | 1,234,567 | 0.25 | 0.5 | – | – | 3 MiB | 90.0 | – | – "
        "| – | – | – | – | – |\n"
        "| AMR | 60 | 40 | 1,234,567 | 0.0625 | 0.5 | 10:00 | 2.00× | 3 MiB | 68.0 | 65.0 | 0.625 "
        "| 125 | 3.8 | 3.7 h | 8.1× | 87.4 |\n"
        "| random encoder | – | – | – | – | – | – | – | – | 50.0 | 40.0 | 0.250 "
        "| – | – | – | – | – |\n"
        "\n"
        "- a note\n"
    )


def test_csv_holds_raw_numbers():
    found = list(csv.DictReader(io.StringIO(tables.csv(lines_of(), SHOWN))))
    assert [line["row"] for line in found] == ["mamp", "nat", "amr", "random"]
    amr = found[2]
    assert (amr["training_seconds"], amr["step_bytes"], amr["speed_up"]) == (
        "600.0",
        "3145728",
        "2.0",
    )
    assert (amr["linear_top1"], amr["knn_top1"], amr["published_linear_top1"]) == (
        "0.68",
        "0.65",
        "0.874",
    )
    assert found[1]["knn_top1"] == found[3]["epochs"] == found[1]["published_hours"] == ""


def test_a_protocol_of_ones_own_has_a_column_and_is_compared(monkeypatch):
    monkeypatch.setitem(tables.PROTOCOLS, "probe", Protocol(run=None, title="probe"))
    rows = [row("mamp", linear=0.7, title="MAMP"), row("amr", linear=0.6, title="AMR")]
    for each, top1 in zip(rows, (0.9, 0.8), strict=True):
        each["protocols"]["probe"] = {"pretrained": {"top1": top1}}
    shown = tables.columns("MAMP", "ntu60_xsub", ("linear", "probe"))
    lines = tables.records(rows, rows[0], "ntu60_xsub", rows)
    assert [c.head for c in shown if c.key.endswith("top1")][:2] == ["linear %", "probe %"]
    assert [line["probe_top1"] for line in lines] == [0.9, 0.8, None]
    assert "MAMP (probe, +10.0)" in tables.verdict(lines, "amr", 100)


def test_speed_up_is_per_epoch():
    half = row("amr", linear=0.7, epochs=30, training_seconds=600.0)  # twice as long an epoch
    lines = lines_of([half, ROWS[0]], reference=row("full", linear=0.7))
    assert [line["speed_up"] for line in lines] == [0.5, 0.5, None]
    assert [line["speed_up"] for line in lines_of(reference=None)] == [None] * 4


def test_the_verdict_lists_better_rows_and_their_lead():
    # 0.68 of 100 sequences: a standard error of 4.7 points.
    assert tables.standard_error(0.68, 100) == pytest.approx(0.04665, abs=1e-5)
    assert tables.verdict(lines_of(), "amr", 100) == (
        "Ahead of AMR by more than twice the standard error of the difference: "
        "NAT (linear, +22.0). Ahead within that noise: MAMP (linear, +2.0). "
        "Faster to train: none. Fewer GFLOPs (linear layers): none. "
        "Fewer GFLOPs (compiler): none. Less memory: none."
    )


def test_the_verdict_lists_every_better_row():
    best = row("mamp", linear=0.7, title="MAMP", training_seconds=300.0, costs={"step_bytes": 9})
    collapsed = row("amr", linear=0.3, knn=0.3, title="AMR")
    found = tables.verdict(lines_of([best, collapsed], best), "amr", 10000)
    # The random encoder of the first row has no 1-NN.
    assert found.startswith(
        "Ahead of AMR by more than twice the standard error of the difference: "
        "MAMP (linear, +40.0), random encoder (linear, +20.0). Ahead within that noise: none. "
        "Faster to train: MAMP."
    )
    assert found.endswith("Less memory: MAMP.")
    assert "amr is not finished" in tables.verdict(lines_of([best], best), "amr", 100)


def test_a_lead_is_compared_with_the_noise_of_both_accuracies():
    # 0.50 and 0.63 of 100: 5.0 and 4.8 points, 6.9 together; ours alone would make 13 points clear.
    close = [row("amr", linear=0.5, title="AMR"), row("mamp", linear=0.63, title="MAMP")]
    found = tables.verdict(lines_of(close), "amr", 100)
    assert "difference: none. Ahead within that noise: MAMP (linear, +13.0)" in found
    assert "difference: MAMP (linear, +13.0)" in tables.verdict(lines_of(close), "amr", 120)


def test_files_of_a_comparison(tmp_path):
    config = compare.get_config("nwucla")
    finished = {each["row"]: each for each in ROWS}
    text = tables.write(tmp_path, config, finished, "python -m some command")
    assert (tmp_path / "comparison.md").read_text() == text
    for part in (
        "Not finished yet: skeleton_mae, sjepa, gfp, nat_con.",
        "nwucla: 1,020 training and 100 test sequences. One seed (0)",
        "is 3.0 points at 90.0 %",
        "T = 48, width 96, depth 4; float32; attention by xla; batch 32. "
        "Trained on 1,020 sequences (crc32 00000000).",
        "Device: 1 × cpu. amr_jax 0.1, jax 1.0, jaxlib 1.1, flax 1.2.",
        "Last row finished: 2026-11-23T10:00:00+00:00. Command: `python -m some command`",
    ):
        assert part in text
    assert len((tmp_path / "comparison.csv").read_text().splitlines()) == 5
    image = matplotlib.image.imread(tmp_path / "comparison.png")
    assert min(image.shape[:2]) > 500
    config.budget = "seconds"
    assert "trains for 3,600 s" in tables.write(tmp_path, config, finished, "")


def test_files_of_an_ablation_are_those_of_tables_with_a_finished_row(tmp_path):
    config = ablation.get_config("nwucla")
    config.tables = {name: config.tables[name] for name in ("decoder", "r")}
    r_2 = row("r_2", linear=0.6, knn=0.6, costs={"num_predicted": 120})
    tables.write(tmp_path, config, {"r_2": r_2}, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.csv", "r.md", "r.png"]
    alone = matplotlib.image.imread(tmp_path / "r.png")
    tables.write(tmp_path, config, {"r_2": r_2, "full": row("full", linear=0.7, knn=0.6)}, "")
    names = {path.stem for path in tmp_path.iterdir()}
    assert names == set(config.tables)  # all show the full method
    assert matplotlib.image.imread(tmp_path / "r.png").shape[0] > alone.shape[0]  # a line more


def test_a_row_that_was_not_timed_or_judged_by_linear_is_drawn_too(tmp_path):
    rows = {name: row(name, linear=0.5, knn=0.4, training_seconds=None) for name in ("mamp", "amr")}
    for each in rows.values():
        each["protocols"].pop("linear")
        each["protocols"]["knn"].pop("random")
    tables.write(tmp_path, compare.get_config("nwucla"), rows, "")
    assert matplotlib.image.imread(tmp_path / "comparison.png").size
