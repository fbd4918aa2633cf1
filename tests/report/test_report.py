"""Reports: what is on the pages, that it is what the files say, and that hostile names are text."""

import re

import numpy as np
import pytest

from amr_jax.evaluation import report
from amr_jax.evaluation.accuracy import standard_error
from amr_jax.pictures import look
from amr_jax.report import curves, evaluation, page, strips
from amr_jax.skeleton.layouts import KINECT_20
from tests.evaluation import tiny
from tests.report import handmade
from tests.report.parsed import Page


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return handmade.a_run(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="module")
def judged(run):
    return handmade.an_evaluation(run.parent.parent / "linear", run.parent)


def test_a_run_has_its_command_settings_curves_and_files(run):
    shown = Page(run)
    shown.check()
    assert "amr-jax pretrain --config=amr:nwucla" in shown.text
    changed, others = (rows for rows in shown.tables if rows[0][0] == "setting")
    assert [row[:3] for row in changed[1:]] == [
        ["epochs", "20", "60"],
        ["optim.lr", "0.002", "0.001"],
    ]
    assert ["encoder.depth", "4", "", "transformer blocks"] in others
    curves = [a["aria-label"] for tag, a in shown.tags if tag == "svg"]
    assert curves == [
        "loss",
        "norm of the gradient",
        "sequences per second",
        "feature std in training",
        "weight",
    ]
    assert "1 more metrics" in shown.text  # a sign of a collapse is not folded
    # 1,000 steps at the rate of 950 steps in 38 s.
    assert re.search(r"training time\s*0:40", shown.text)
    links = [a["href"] for tag, a in shown.tags if tag == "a"]
    assert links == ["metrics.jsonl", "config.json", "versions.json"]


def test_an_evaluation_has_the_numbers_of_its_results(judged):
    path, found = judged
    shown = Page(path)
    shown.check()
    rows = shown.table("encoder")
    assert [row["encoder"] for row in rows] == ["pretrained", "random"]
    for row in rows:
        top1 = found["encoders"][row["encoder"]]["top1"]
        assert row["top-1 %"] == f"{100 * top1:.2f}"
        assert row["standard error"] == f"{100 * standard_error(top1, 160):.2f}"
    classes = shown.table("class")
    assert [row["number"] for row in classes] == ["0", "1", "2"]  # the fourth does not occur
    assert "Not in the test split: class 3" in shown.text
    assert sum(int(row["test sequences"]) for row in classes) == 160
    recognised = [int(r["test sequences"]) * float(r["pretrained %"]) / 100 for r in classes]
    assert sum(recognised) / 160 == pytest.approx(found["encoders"]["pretrained"]["top1"], abs=1e-3)
    links = [a["href"] for tag, a in shown.tags if tag == "a"]
    assert "../run/report.html" in links
    charts = [a["aria-label"] for tag, a in shown.tags if tag == "svg" and "aria-label" in a]
    assert {"top-1 on the test set", "training loss"} <= set(charts)


def test_curves_of_several_draws_are_their_means():
    lines = [
        {"step": step, f"{name}/draw{draw}/train_loss": draw * step * scale}
        for name, scale in (("pretrained", 1.0), ("random", 10.0))
        for draw in (1, 2)
        for step in (1, 2)
    ]
    assert evaluation._points(lines, "random", "train_loss") == [(1, 15), (2, 30)]
    (chart,) = evaluation._charts(lines, {"pretrained": None, "random": None})
    assert (chart.title, [line[2] for line in chart.lines]) == ("training loss", ["3", "30"])


def test_a_picture_that_fails_leaves_a_page_that_says_why(tmp_path, monkeypatch):
    def fails(*_, **__):
        raise ZeroDivisionError("no joints")

    monkeypatch.setattr(look, "given", fails)
    assert "Not drawn: ZeroDivisionError: no joints" in Page(handmade.a_run(tmp_path / "run")).text


def test_the_heat_map_counts_every_sequence(judged):
    shown = judged[0].read_text()
    counts = re.findall(r"<title>.* → .*: (\d+) of \d+</title>", shown)
    assert sum(map(int, counts)) == 160


def test_hostile_names_are_text(run, judged):
    for path in (run, judged[0]):
        shown = Page(path)
        assert handmade.HOSTILE in shown.text
        assert [tag for tag, _ in shown.tags].count("script") == 1  # our own
    assert handmade.HOSTILE in [row["class"] for row in Page(judged[0]).table("class")]


def test_a_page_that_cannot_be_made_is_a_warning_and_leaves_none(tmp_path, capsys):
    page.write(tmp_path, lambda: "before")
    page.write(tmp_path, lambda: "after", replace=False)
    assert (tmp_path / page.FILE).read_text() == "before"

    def fails():
        raise ZeroDivisionError("no joints")

    page.write(tmp_path, fails)
    assert not (tmp_path / page.FILE).exists()
    said = capsys.readouterr().out
    assert f"warning: {tmp_path / page.FILE}: not written (ZeroDivisionError: no joints)" in said


def test_long_curves_are_thinned_and_constant_ones_drawn():
    points = [(float(k), 3.0) for k in range(1, 10_001)]
    (line,) = curves.chart("x", {"": points}).lines
    assert len(line[1].split()) <= 300
    assert {point.split(",")[1] for point in line[1].split()} != {"nan"}
    assert curves.chart("x", {"": []}) is None


@pytest.mark.parametrize("bodies", [0, 1, 2])
def test_a_strip_has_every_limb_of_every_body_within_its_frame(bodies):
    clip = np.zeros((30, 2, 20, 3), np.float32)
    clip[:, :bodies] = np.random.default_rng(0).normal(size=(30, bodies, 20, 3))
    made = strips.strip(clip, KINECT_20, "xyz", columns=5)
    drawn = [path for name, path in made.paths if "head" not in name]
    frames = 5 if bodies < 2 else 3  # two bodies of noise are wide
    assert "".join(drawn).count("M") == bodies * frames * len(KINECT_20.bones)
    numbers = re.findall(r"(-?[\d.]+) (-?[\d.]+)", " ".join(path for _, path in made.paths))
    for x, y in numbers:
        assert 0 <= float(x) <= made.width
        assert 0 <= float(y) <= made.height


def test_classes_count_sequences_once_whatever_the_draws():
    test = tiny.make_bodies(np.ones((3, 1)), label=[0, 0, 2])
    draws = np.array([[0, 1, 2], [0, 0, 1]])
    confusion = report.confusion_matrix(test.label, draws, 3)
    first, second = evaluation.per_class(test, [confusion])
    assert (first["count"], first["accuracies"], first["confused"]) == (2, [75], [("class 1", 25)])
    assert (second["number"], second["count"], second["accuracies"]) == (2, 1, [50])
