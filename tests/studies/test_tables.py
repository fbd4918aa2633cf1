"""Tables from hand-made rows: every cell, the raw numbers, and the comparison of rows."""

import csv
import io

import matplotlib.image
import pytest

from amr_jax.evaluation.accuracy import standard_error
from amr_jax.evaluation.task import Protocol
from amr_jax.studies import lines, notes, rows, tables
from configs import ablation, compare
from tests.studies.handmade import row

ROWS = [
    row("mamp", linear=0.7, knn=0.62, title="MAMP", training_seconds=1200.0),
    row("nat", linear=0.9, title="NAT", training_seconds=None, epochs=30.5),
    row("amr", linear=0.68, knn=0.65, title="AMR", costs={"linear_gflops": 0.0625}),
]
JUDGES = rows.judges(compare.get_config("nwucla"))
COLUMNS = tables.columns("MAMP", "ntu60_xsub", JUDGES, {})
SHOWN = [column for column in COLUMNS if not column.optional]


def lines_of(rows=ROWS, reference=ROWS[0]):
    """The lines of rows with one seed."""
    known = [reference] if reference else []
    return lines.of_rows([[each] for each in rows], known, "ntu60_xsub", rows)


def finished(rows=ROWS):
    return {each["row"]: [each] for each in rows}


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
    found = list(csv.DictReader(io.StringIO(tables.csv(lines_of(), SHOWN, seeds=1))))
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
    monkeypatch.setitem(rows.PROTOCOLS, "probe", Protocol(run=None, title="probe"))
    config = compare.get_config("nwucla")
    config.protocols = ("linear", "probe", "knn_joint")
    judges = rows.judges(config)
    made = [row("mamp", linear=0.7, title="MAMP"), row("amr", linear=0.6, title="AMR")]
    for each, top1 in zip(made, (0.9, 0.8), strict=True):
        each["protocols"]["probe"] = {"pretrained": {"top1": top1}}
        each["protocols"]["knn"] = {"pretrained": {"top1": 0.1, "feature_std": 0.2}}
        each["protocols"]["knn_joint"] = {"pretrained": {"top1": top1 / 2, "feature_std": 0.3}}
    shown = tables.columns("MAMP", "ntu60_xsub", judges, {})
    found = lines_of(made, made[0])
    assert [c.head for c in shown if c.key.endswith("top1")][:3] == [
        "linear %",
        "probe %",
        "1-NN, joint %",
    ]
    assert [line["probe_top1"] for line in found] == [0.9, 0.8, None]
    assert "MAMP (probe, +10.0)" in notes.verdict(found, "amr", 100, judges)
    by_joint = {c.head: found[0][c.key] for c in shown if c.head.endswith("joint")}
    assert by_joint["feature std, joint"] == 0.3
    assert "MAMP (1-NN, joint, +5.0)" in notes.verdict(found, "amr", 100, judges)


def test_speed_up_is_per_epoch():
    half = row("amr", linear=0.7, epochs=30, training_seconds=600.0)  # twice as long an epoch
    found = lines_of([half, ROWS[0]], reference=row("full", linear=0.7))
    assert [line["speed_up"] for line in found] == [0.5, 0.5, None]
    assert [line["speed_up"] for line in lines_of(reference=None)] == [None] * 4


def test_speed_up_is_against_the_same_seed():
    seconds = {"mamp": (600.0, 60.0), "amr": (300.0, 20.0)}  # the machine was busier at first
    rows = [
        [row(name, linear=0.7, seed=s, training_seconds=x) for s, x in enumerate(each)]
        for name, each in seconds.items()
    ]
    found = lines.of_rows(rows, rows[0], "ntu60_xsub", rows[0])
    assert [line["speed_up"] for line in found[:2]] == [1.0, 2.5]
    # A seed of the reference that is not finished yet.
    found = lines.of_rows(rows, rows[0][1:], "ntu60_xsub", rows[0])
    assert [line["speed_up"] for line in found[:2]] == [1.0, 3.0]


def test_the_verdict_lists_better_rows_and_their_lead():
    # 0.68 of 100 sequences: a standard error of 4.7 points.
    assert standard_error(0.68, 100) == pytest.approx(0.04665, abs=1e-5)
    assert notes.verdict(lines_of(), "amr", 100, JUDGES) == (
        "Ahead of AMR by more than twice the standard error of the difference: "
        "NAT (linear, +22.0). Ahead within that noise: MAMP (linear, +2.0). "
        "Faster to train: none. Fewer GFLOPs (linear layers): none. "
        "Fewer GFLOPs (compiler): none. Less memory: none."
    )


def test_the_verdict_lists_every_better_row():
    best = row("mamp", linear=0.7, title="MAMP", training_seconds=300.0, costs={"step_bytes": 9})
    collapsed = row("amr", linear=0.3, knn=0.3, title="AMR")
    found = notes.verdict(lines_of([best, collapsed], best), "amr", 10000, JUDGES)
    # The random encoder's 1-NN was evaluated with the second row.
    assert found.startswith(
        "Ahead of AMR by more than twice the standard error of the difference: "
        "MAMP (linear, +40.0), random encoder (linear, +20.0), random encoder (1-NN, +10.0). "
        "Ahead within that noise: none. Faster to train: MAMP."
    )
    assert found.endswith("Less memory: MAMP.")
    assert "amr is not finished" in notes.verdict(lines_of([best], best), "amr", 100, JUDGES)


def test_a_lead_is_compared_with_the_noise_of_both_accuracies():
    # 0.50 and 0.63 of 100: 5.0 and 4.8 points, 6.9 together; ours alone would make 13 points clear.
    close = [row("amr", linear=0.5, title="AMR"), row("mamp", linear=0.63, title="MAMP")]
    found = notes.verdict(lines_of(close), "amr", 100, JUDGES)
    assert "difference: none. Ahead within that noise: MAMP (linear, +13.0)" in found
    assert "difference: MAMP (linear, +13.0)" in notes.verdict(lines_of(close), "amr", 120, JUDGES)


def test_signs_of_a_collapse_are_shown_where_a_row_has_them(tmp_path):
    config = compare.get_config("nwucla")
    assert "in training" not in tables.write(tmp_path, config, finished(), "")
    measured = {"step": 9, "feature_std": 0.031, "class_usage": 0.42}
    slim = row("slim", linear=0.6, title="SLiM", last_metrics=measured)
    text = tables.write(tmp_path, config, finished([*ROWS, slim]), "")
    head, _, *found = [line.split(" | ") for line in text.splitlines() if line.startswith("|")]
    of_slim = dict(zip(head, next(x for x in found if x[0] == "| SLiM"), strict=True))
    assert of_slim["feature std in training"] == "0.031"
    assert of_slim["prototypes in use"] == "0.420"
    assert "prototypes in use, patches" not in head
    assert dict(zip(head, found[0], strict=True))["prototypes in use"] == "–"
    assert "feature std in training: the metric `feature_std`" in text
    assert "the metric `patch_usage`" not in text


def test_files_of_a_comparison(tmp_path):
    config = compare.get_config("nwucla")
    text = tables.write(tmp_path, config, finished(), "python -m some command")
    assert (tmp_path / "comparison.md").read_text() == text
    for part in (
        "Not finished yet: skeleton_mae, sjepa, gfp, nat_con, usdrl, slim, mamp_stars, amr_stars.",
        "nwucla: 1,020 training and 100 test sequences. One seed (0)",
        "is 3.0 points at 90.0 %",
        "T = 48, width 96, depth 4; float32; attention by xla; batch 32. "
        "Trained on 1,020 sequences (crc32 00000000).",
        "Device: 1 × cpu. amr_jax 0.1, jax 1.0, jaxlib 1.1, flax 1.2.",
        "Last row finished: 2026-11-23T10:00:00+00:00. Command: `python -m some command`",
    ):
        assert part in text
    assert len((tmp_path / "comparison.csv").read_text().splitlines()) == 5
    tex = (tmp_path / "comparison.tex").read_text()
    assert "% needs \\usepackage{booktabs}" in tex
    assert tex.count(r" \\") == 5  # the head and four lines
    assert r"linear \%" in tex
    image = matplotlib.image.imread(tmp_path / "comparison.png")
    assert min(image.shape[:2]) > 500
    config.budget = "seconds"
    assert "trains for 3,600 s" in tables.write(tmp_path, config, finished(), "")


def test_files_of_an_ablation_are_those_of_tables_with_a_finished_row(tmp_path):
    config = ablation.get_config("nwucla")
    config.tables = {name: config.tables[name] for name in ("decoder", "r")}
    r_2 = row("r_2", linear=0.6, knn=0.6, costs={"num_predicted": 120})
    tables.write(tmp_path, config, finished([r_2]), "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.csv", "r.md", "r.png", "r.tex"]
    alone = (tmp_path / "r.png").read_bytes()
    tables.write(tmp_path, config, finished([r_2, row("full", linear=0.7, knn=0.6)]), "")
    names = {path.stem for path in tmp_path.iterdir()}
    assert names == set(config.tables)  # all show the full method
    assert (tmp_path / "r.png").read_bytes() != alone  # a point more


def test_a_row_that_was_not_timed_or_judged_by_linear_is_drawn_too(tmp_path):
    rows = [row(name, linear=0.5, knn=0.4, training_seconds=None) for name in ("mamp", "amr")]
    for each in rows:
        each["protocols"].pop("linear")
        each["protocols"]["knn"].pop("random")
    tables.write(tmp_path, compare.get_config("nwucla"), finished(rows), "")
    assert matplotlib.image.imread(tmp_path / "comparison.png").size


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("name", "other", "value", "second"),
    [
        ("r", "r_2", 2, "linear_layer_gflops"),
        ("k", "k_10", 10.0, "metric_weight"),
        ("mask_ratio", "mask_75", 0.75, "linear_layer_gflops"),
        ("decoder_depth", "depth_5", 5, "linear_layer_gflops"),
    ],
)
def test_the_picture_of_a_setting(tmp_path, monkeypatch, name, other, value, second):
    config = ablation.get_config("nwucla")
    own = {"r": 6, "k": 0.01, "mask_ratio": 0.9, "decoder_depth": 2}[name]
    drawn, draw = [], tables.pictures._over_setting

    def watched(axes, points, axis, scale):
        draw(axes, points, axis, scale)
        drawn.append((axis, points, axes))

    monkeypatch.setattr(tables.pictures, "_over_setting", watched)
    full, second_row = row("full", linear=0.7), row(other, linear=0.6)
    for here in ([full], [full, second_row]):  # after the first row, and after both
        tables.write(tmp_path, config, finished(here), "", [name])
    assert {path.stem for path in tmp_path.iterdir()} == {name}
    axis, points, axes = drawn[-1]
    assert (axis.values["full"], axis.values[other], axis.second) == (own, value, second)
    assert axis.label.startswith(f"model.{name}: ")
    assert [point.line.row for point in points if point.is_ours] == ["full"]
    line = axes.lines[0]
    places = sorted([(own, 70.0), (value, 60.0)])
    assert list(line.get_xdata()) == [x for x, _ in places]
    assert list(line.get_ydata()) == pytest.approx([y for _, y in places])
    assert [text.get_text() for text in axes.get_xticklabels()] == [f"{x:g}" for x, _ in places]
    assert axes.get_xscale() == ("log" if name in ("r", "k") else "linear")


def test_a_line_is_the_mean_over_its_seeds():
    each = [row("amr", linear=0.5, seed=0), row("amr", linear=0.6, seed=1)]
    each.append(row("amr", linear=0.7, seed=2, training_seconds=None))
    line, random = lines.of_rows([each], each, "ntu60_xsub", each)
    assert line["linear_top1"] == pytest.approx(0.6)
    assert line.std("linear_top1") == pytest.approx(0.1)
    # √(0.6 · 0.4 / 100) = 0.0490; 0.1 / √3 = 0.0577; together 0.0757.
    assert line.error("linear_top1", 100) == pytest.approx(0.0757, abs=1e-4)
    assert (line["training_seconds"], line["epochs"], line["method"]) == (600.0, 60, "AMR")
    assert line["knn_top1"] is None
    assert (random["linear_top1"], random.std("linear_top1")) == (0.5, 0.0)
    one = lines_of([each[0]])[0]
    assert one.std("linear_top1") is None
    assert one.error("linear_top1", 100) == standard_error(0.5, 100)


def test_seeds_that_differ_make_a_lead_uncertain():
    alike = [[row("mamp", linear=0.8, title="MAMP", seed=s) for s in (0, 1)]]
    alike.append([row("amr", linear=0.6, title="AMR", seed=s) for s in (0, 1)])
    apart = [[row("mamp", linear=x, title="MAMP", seed=s) for s, x in enumerate((0.6, 1.0))]]
    apart.append(alike[1])
    for both, clear in ((alike, True), (apart, False)):
        found = lines.of_rows(both, both[0], "ntu60_xsub", [cell for row in both for cell in row])
        text = notes.verdict(found, "amr", 100, JUDGES)
        assert ("difference: MAMP (linear, +20.0)" in text) is clear
        assert ("noise: MAMP (linear, +20.0)" in text) is not clear


def test_twins_are_told_where_there_are_any(tmp_path):
    config = compare.get_config("nwucla")
    config.only = ""
    knn = {"top1": 0.65, "feature_std": 0.5}
    encoders = {"pretrained": knn | {"top1_without_twins": 0.525}, "random": knn}
    cell = row("amr", linear=0.68)
    cell["protocols"]["knn"] = encoders
    text = tables.write(tmp_path, config, {"amr": [cell]}, "command")
    assert "twin" not in tables.write(tmp_path, config, finished(), "command")
    cell["test_sequences_with_twin"] = 98
    text = tables.write(tmp_path, config, {"amr": [cell]}, "command")
    assert "| 1-NN without twins % |" in text
    assert "| 65.0 | 52.5 | 0.500 |" in text
    assert "98 of 100 test sequences have a twin in the training split" in text
    assert "are no neighbours of it" in text
