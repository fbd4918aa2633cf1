"""Tables of several data sets: which cells run, what is shared, and the numbers."""

import csv
import json
import statistics

import numpy as np
import pytest

from amr_jax import compare, evaluate, pretrain
from amr_jax.__main__ import main as amr_jax_command
from amr_jax.errors import UserError
from amr_jax.studies import cells, published, rows
from configs import real_sets
from tests import custom_sets
from tests.studies import stubs
from tests.test_compare import quick

SETS = "nwucla+nwucla_xsub"  # two protocols of one data set: no pre-training on both
ROWS = ("mamp_nwucla", "amr_nwucla", "mamp_nwucla_xsub", "amr_nwucla_xsub")


@pytest.fixture
def seen(monkeypatch, tmp_path):
    """As `stubs.install`; without twins, an eighth less is right by the nearest neighbour."""
    found, judge = stubs.install(monkeypatch, tmp_path), evaluate.run

    def with_twins(config, folder):
        results = judge(config, folder)
        if (config.protocol, config.dataset) == ("knn", "nwucla"):
            for metrics in results["encoders"].values():
                metrics["top1_without_twins"] = metrics["top1"] - 0.125
            (folder / evaluate.RESULTS_FILE).write_text(json.dumps(results))
        return results

    monkeypatch.setattr(evaluate, "run", with_twins)
    return found


def configured(data_dir, sets=SETS, **changes):
    config = real_sets.get_config(f"{sets},runlocal")
    config.data_dir, config.only = str(data_dir), "mamp_*,amr_*"
    config.overrides = ("input.split=train",)
    config.protocols = ("knn", "finetune")
    config.update_from_flattened_dict(changes)
    return config


def numbers(folder, name="real_sets"):
    """(line, set, protocol, seed) → top-1 of the CSV file."""
    lines = csv.DictReader((folder / f"{name}.csv").read_text().splitlines())
    keys = ("line", "set", "protocol", "seed")
    return {tuple(x[key] for key in keys): x["top1"] and float(x["top1"]) for x in lines}


def judged(folder, encoder="pretrained"):
    return json.loads((folder / evaluate.RESULTS_FILE).read_text())["encoders"][encoder]["top1"]


def test_cells_by_set_and_numbers_of_their_results(tiny_ucla, tmp_path, seen):
    compare.run(configured(tiny_ucla, seeds=2), tmp_path, "the command")
    first = [
        path
        for row in ROWS
        for path in (row, *(f"{row}/{row.partition('_')[2]}/{p}" for p in ("knn", "finetune")))
    ]
    assert seen[: len(first)] == first
    found = numbers(tmp_path)
    for row in ROWS:
        method, _, dataset = row.partition("_")
        title = {"mamp": "MAMP", "amr": "AMR"}[method]
        for protocol in ("knn", "finetune"):
            each = [judged(tmp_path / row / seed / dataset / protocol) for seed in ("", "seed1")]
            cell = title, dataset, protocol
            assert [found[*cell, seed] for seed in "01"] == each
            assert found[*cell, "mean"] == pytest.approx(statistics.fmean(each))
            assert found[*cell, "std"] == pytest.approx(statistics.stdev(each))
    # The random encoder is evaluated with the first row of a set, and shared.
    path = tmp_path / "mamp_nwucla" / "nwucla" / "knn"
    assert found["random encoder", "nwucla", "knn", "0"] == judged(path, "random")
    with pytest.raises(KeyError):
        judged(tmp_path / "amr_nwucla" / "nwucla" / "knn", "random")
    # The set with twins has a column more in the part of the nearest neighbours, for every line.
    beside = "nwucla, without twins"
    for title in ("MAMP", "AMR", "random encoder"):
        for seed in ("0", "1", "mean"):
            usual = found[title, "nwucla", "knn", seed]
            assert found[title, beside, "knn", seed] == pytest.approx(usual - 0.125)
        assert (title, beside, "finetune", "0") not in found
        assert (title, "nwucla_xsub, without twins", "knn", "0") not in found
    text = (tmp_path / "real_sets.md").read_text()
    _, neighbours, tuned = text.split("###")
    assert f"| pre-training | nwucla | {beside} | nwucla_xsub |" in neighbours
    assert "| pre-training | nwucla | nwucla_xsub |" in tuned
    assert text.count("are no neighbours of it.") == 1
    tex = (tmp_path / "real_sets.tex").read_text()
    assert tex.count(r"\toprule") == 2
    assert f"pre-training & nwucla & {beside} & nwucla\\_xsub \\\\" in tex
    assert "for validation" not in text
    mean = 100 * found["AMR", "nwucla_xsub", "knn", "mean"]
    spread = 100 * found["AMR", "nwucla_xsub", "knn", "std"]
    assert f"{mean:.1f} ± {spread:.1f} |\n" in text
    assert "| random encoder |" in text.split("###")[1]
    assert "| from scratch |" in text.split("###")[2]
    assert f"| published, all labels | {published.SMALL_SETS['nwucla']} | – | – |" in neighbours
    assert f"| published, all labels | {published.SMALL_SETS['nwucla']} | – |\n" in tuned
    assert "nwucla 80 / 40" in text
    assert "Command: `the command`" in text


def test_an_interrupted_cell_is_resumed(tiny_ucla, tmp_path, seen, monkeypatch):
    judge = evaluate.run

    def dies(config, folder):
        if folder == tmp_path / "amr_nwucla" / "nwucla" / "finetune":
            raise KeyboardInterrupt
        return judge(config, folder)

    config = configured(tiny_ucla, only="*_nwucla")
    config.only = "mamp_nwucla,amr_nwucla"
    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "run", dies)
        with pytest.raises(KeyboardInterrupt):
            compare.run(config, tmp_path)
    assert not cells.is_finished(tmp_path / "amr_nwucla", ["nwucla/knn"])
    seen.clear()
    compare.run(config, tmp_path)
    assert seen == ["amr_nwucla", "amr_nwucla/nwucla/finetune"]
    seen.clear()
    assert len(compare.run(config, tmp_path)) == 2
    assert seen == []


def test_rows_on_several_sets():
    config = real_sets.get_config("nwucla+utd+kard+nwucla_xsub,runlocal")
    names = rows.in_order(config)
    assert names[:2] == ["skeleton_mae_nwucla", "mamp_nwucla"]
    assert names[-1] == "recipe_without_kard"
    found = {
        name.removeprefix("amr_"): (row.dataset, row.judged_on)
        for name, row in config.rows.items()
        if name.startswith(("amr_all", "amr_without"))
    }
    for name in config.rows:  # the longest set, KARD, is judged as a whole
        if name.startswith(("amr_all", "amr_without")):
            assert rows.pretraining(config, name).input.max_frames == 310, name
    # No pre-training has seen the test sequences of what it is judged on.
    assert found == {
        "all": ("nwucla+utd+kard", ("nwucla", "utd", "kard")),
        "all_nwucla_xsub": ("nwucla_xsub+utd+kard", ("nwucla_xsub",)),
        "without_nwucla": ("utd+kard", ("nwucla", "nwucla_xsub")),
        "without_utd": ("nwucla+kard", ("utd",)),
        "without_kard": ("nwucla+utd", ("kard",)),
    }


@pytest.mark.parametrize(
    ("argument", "changes", "message"),
    [
        ("nwucla+ucla", {}, r"unknown data set 'ucla'.*nwucla"),
        (SETS, {"rows.amr_nwucla.judged_on": ("utf",)}, r"unknown data set 'utf'.*mean utd\?"),
        (SETS, {"rows.amr_nwucla.judged_on": ()}, r"real_sets\.rows: amr_nwucla is judged on no"),
        (
            SETS,
            {"rows.amr_nwucla.judged_on": ("nwucla_xsub",)},
            r"amr_nwucla and amr_nwucla_xsub have the title 'AMR' and are both judged on nwucla_xs",
        ),
        (SETS, {"only": "amr_utd"}, r"config\.only: row or table = 'amr_utd'"),
        (SETS, {"overrides": ("armr_*:model.r=2",)}, r"config\.overrides: 'armr_\*:.*: row = "),
        (SETS, {"overrides": ("amr_*:model.q=2",)}, r"row 'amr_nwucla': config\.model\.q: unknown"),
    ],
)
def test_a_wrong_set_or_row_is_an_error_before_training(argument, changes, message, tmp_path, seen):
    with pytest.raises(UserError, match=message):
        compare.run(configured("/nowhere", argument, **changes), tmp_path)
    assert seen == []


def test_overrides_of_some_rows_come_last():
    config = configured("/nowhere", SETS)
    config.overrides = ("recipe_*:input.body_frame=mean", "model.mask_ratio=0.8")
    assert rows.pretraining(config, "recipe_nwucla").input.body_frame == "mean"
    assert rows.pretraining(config, "amr_nwucla").input.body_frame == "none"
    assert rows.pretraining(config, "amr_nwucla").model.mask_ratio == 0.8


def own_set(folder, name):
    """Records of 8 + 4 sequences of two classes; returns their folder."""
    for i in range(12):
        joints = np.random.default_rng(i).normal(size=(12, 1, 17, 3)) * (1 + i % 2)
        split = "test" if i % 3 == 0 else "train"
        custom_sets.write_npz(folder / name, f"s{i}", joints=joints, label=f"c{i % 2}", split=split)
    amr_jax_command(
        [
            "prepare",
            "--dataset=custom",
            f"--manual_dir={folder / name}",
            f"--data_dir={folder}/data",
            f"--name={name}",
            "--layout=coco_17",
            "--channels=xyz",
            "--scale=1",
            "--num_workers=1",
        ]
    )
    return folder / "data" / "custom" / name


def test_pretrained_on_two_sets_and_judged_on_each(tmp_path, monkeypatch):
    quick(monkeypatch)
    sets = "+".join(str(own_set(tmp_path, name)) for name in ("one", "two"))
    config = real_sets.get_config(f"{sets},runlocal")
    config.data_dir, config.only, config.protocols = str(tmp_path), "amr_one,amr_all", ("knn",)
    config.overrides = ("batch_size=4", "steps_per_dispatch=1", "encoder.num_frames=24")
    config.overrides += ("encoder.width=8", "encoder.depth=1", "model.decoder_width=8")
    folder, judge = tmp_path / "run", evaluate.run

    def dies(config, where):
        if where == folder / "amr_all" / "two" / "knn":
            raise KeyboardInterrupt
        return judge(config, where)

    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "run", dies)
        with pytest.raises(KeyboardInterrupt):
            compare.run(config, folder)
    judged_again = []
    monkeypatch.setattr(evaluate, "run", lambda c, f: judged_again.append(f) or judge(c, f))
    compare.run(config, folder)
    assert judged_again == [folder / "amr_all" / "two" / "knn"]
    assert pretrain.resolve(rows.pretraining(config, "amr_all")).dataset == sets
    found = numbers(folder, "transfer")
    for name in ("one", "two"):
        top1 = judged(folder / "amr_all" / name / "knn")
        assert found["AMR, on all sets", name, "knn", "0"] == top1
    gain = "AMR, on all sets − AMR", "one", "knn", "0"
    both = [found[title, "one", "knn", "0"] for title in ("AMR, on all sets", "AMR")]
    assert found[gain] == pytest.approx(both[0] - both[1])
    # The encoder without pre-training is that of the set, however many were pre-trained on.
    assert set(found) & {
        ("random encoder", "one", "knn", "0"),
        ("random encoder", "two", "knn", "0"),
    }
    with pytest.raises(KeyError):
        judged(folder / "amr_all" / "one" / "knn", "random")
