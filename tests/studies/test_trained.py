"""Rows with several seeds: what is trained, what is resumed, and what the tables say."""

import csv
import json
import statistics
from pathlib import Path

import pytest

from amr_jax import compare, evaluate, pretrain
from amr_jax.errors import UserError
from amr_jax.run import metrics, workdir
from amr_jax.studies import budget, cells, costs, trained
from configs import ablation, rivals
from configs import compare as methods_config
from tests import custom_sets
from tests.studies import stubs


@pytest.fixture
def seen(monkeypatch, tmp_path):
    return stubs.install(monkeypatch, tmp_path)


def table(folder, name):
    return (folder / f"{name}.md").read_text()


def configured(data_dir, module=methods_config, **changes):
    config = module.get_config("nwucla,runlocal")
    config.data_dir, config.only, config.protocols = str(data_dir), "mamp,amr", ("knn",)
    config.overrides = ("input.split=train",)
    config.update_from_flattened_dict(changes)
    return config


def top1(folder, encoder="pretrained"):
    return json.loads((folder / evaluate.RESULTS_FILE).read_text())["encoders"][encoder]["top1"]


def test_a_finished_workdir_gains_seeds(tiny_ucla, tmp_path, seen, monkeypatch):
    one = compare.run(configured(tiny_ucla), tmp_path)
    assert seen == ["mamp", "mamp/knn", "amr", "amr/knn"]
    before = (tmp_path / "comparison.csv").read_text()
    seen.clear()
    # Costs of a row do not depend on the seed.
    monkeypatch.setattr(costs, "of_config", lambda *_: pytest.fail("counted again"))
    three = compare.run(configured(tiny_ucla, seeds=3), tmp_path)
    # All rows with one seed come before the next seed.
    assert seen == [
        f"{row}/seed{seed}{protocol}"
        for seed in (1, 2)
        for row in ("mamp", "amr")
        for protocol in ("", "/knn")
    ]
    assert [three[row][0] for row in three] == [one[row][0] for row in one]
    assert [[cell["seed"] for cell in each] for each in three.values()] == [[0, 1, 2]] * 2
    for folder, seed in (("mamp", 0), ("mamp/seed1", 1), ("amr/seed2", 2)):
        assert workdir.read_config(tmp_path / folder).seed == seed
        assert workdir.read_config(tmp_path / folder / "knn").seed == seed
    seen.clear()
    assert compare.run(configured(tiny_ucla, seeds=3), tmp_path) == three
    # With one seed again, the table is what it was.
    assert compare.run(configured(tiny_ucla), tmp_path) == one
    assert (tmp_path / "comparison.csv").read_text() == before
    assert seen == []


def test_a_start_that_ends_between_two_seeds_is_resumed(tiny_ucla, tmp_path, seen, monkeypatch):
    judge = evaluate.run

    def dies(config, folder):
        if folder.parent.name == "seed6" and folder.parent.parent.name == "amr":
            raise KeyboardInterrupt
        return judge(config, folder)

    monkeypatch.setattr(evaluate, "run", dies)
    config = configured(tiny_ucla, seeds=3, seed=5)
    with pytest.raises(KeyboardInterrupt):
        compare.run(config, tmp_path)
    of_mamp, of_amr = [["mamp/seed6", "mamp/seed6/knn"], ["amr/seed6", "amr/seed6/knn"]]
    assert seen == ["mamp", "mamp/knn", "amr", "amr/knn", *of_mamp, of_amr[0]]
    text = table(tmp_path, "comparison")
    assert "gfp, nat, nat_con, usdrl, slim, amr (1 of 3 seeds), mamp_stars, amr_stars." in text
    assert "mamp (2 of 3 seeds)" in text
    monkeypatch.setattr(evaluate, "run", judge)
    seen.clear()
    found = compare.run(config, tmp_path)
    last = ["mamp/seed7", "mamp/seed7/knn", "amr/seed7", "amr/seed7/knn"]
    assert seen == [*of_amr, *last]
    assert [[cell["seed"] for cell in each] for each in found.values()] == [[5, 6, 7]] * 2


def test_a_finished_workdir_gains_variants_of_protocols(tiny_ucla, tmp_path, seen):
    compare.run(configured(tiny_ucla), tmp_path)
    before = (tmp_path / "mamp" / "knn" / evaluate.RESULTS_FILE).stat().st_mtime_ns
    seen.clear()
    found = compare.run(configured(tiny_ucla, protocols=("knn", "knn_joint")), tmp_path)
    # Training that is finished ends at once.
    assert seen == ["mamp", "mamp/knn_joint", "amr", "amr/knn_joint"]
    assert (tmp_path / "mamp" / "knn" / evaluate.RESULTS_FILE).stat().st_mtime_ns == before
    assert workdir.read_config(tmp_path / "mamp" / "knn_joint").readout == "joint"
    for name, (cell,) in found.items():
        for judge, encoders in cell["protocols"].items():
            assert encoders["pretrained"]["top1"] == top1(tmp_path / name / judge)
    assert "| 1-NN, joint % |" in table(tmp_path, "comparison")


def test_rows_of_earlier_versions_are_read_and_new_ones_are_judged_like_them(
    tmp_path, seen, monkeypatch
):
    monkeypatch.setattr(pretrain, "open_records", lambda config: type("", (), {"num_slots": 1}))
    own = custom_sets.without_records(tmp_path / "own", 224)
    config = methods_config.get_config(own)
    config.only, config.protocols = "mamp", ("linear",)
    usual = {"features": "augmented", "cached_views": 1, "batch_size": 256, "learning_rate": 0.01}
    config.protocol_overrides = tuple(f"linear.{key}={value}" for key, value in usual.items())
    compare.run(config, tmp_path)
    path = tmp_path / "mamp" / "linear" / workdir.CONFIG_FILE
    written = json.loads(path.read_text())
    del written["size"], written["writers"]  # as version 0.3.0 wrote it
    path.write_text(json.dumps(written))
    seen.clear()
    config.only, config.protocol_overrides = "mamp,amr", ()
    found = compare.run(config, tmp_path)
    assert seen == ["amr", "amr/linear"]
    judged = workdir.read_config(tmp_path / "amr" / "linear")
    assert {key: judged[key] for key in usual} == usual
    # So they share the random encoder.
    assert list(found["amr"][0]["protocols"]["linear"]) == ["pretrained"]


def test_the_random_encoder_is_evaluated_once_for_every_seed(tiny_ucla, tmp_path, seen):
    found = compare.run(configured(tiny_ucla, seeds=2), tmp_path)
    encoders = {
        name: [list(cell["protocols"]["knn"]) for cell in each] for name, each in found.items()
    }
    assert encoders == {"mamp": [["pretrained", "random"]] * 2, "amr": [["pretrained"]] * 2}


def test_a_row_that_is_evaluated_in_another_way_has_its_own_random_encoder(
    tiny_ucla, tmp_path, seen
):
    config = configured(tiny_ucla, ablation, only="bodies", protocols=("linear", "knn"))
    found = compare.run(config, tmp_path)
    assert {name: list(cell["protocols"]["knn"]) for name, (cell,) in found.items()} == {
        "full": ["pretrained", "random"],
        "bodies_all": ["pretrained", "random"],
    }
    assert workdir.read_config(tmp_path / "bodies_all").input.bodies == "all"
    for protocol in ("linear", "knn"):
        assert workdir.read_config(tmp_path / "bodies_all" / protocol).bodies == "all"
        assert workdir.read_config(tmp_path / "full" / protocol).bodies == "packed"
    text = table(tmp_path, "bodies")
    assert "| random encoder: bodies: all |" in text
    assert "| random encoder: full AMR: DD + FR |" in text


def test_the_table_has_mean_and_deviation_and_the_csv_every_number(tiny_ucla, tmp_path, seen):
    config = configured(tiny_ucla, ablation, seeds=3, only="k")
    compare.run(config, tmp_path)
    folders = [tmp_path / "k_10" / part / "knn" for part in ("", "seed1", "seed2")]
    each = [top1(folder) for folder in folders]
    random = [top1(tmp_path / "full" / part / "knn", "random") for part in ("", "seed1", "seed2")]
    assert len(set(each)) > 1
    mean, std = sum(each) / 3, statistics.stdev(each)
    text = table(tmp_path, "k")
    line = next(line for line in text.splitlines() if "ratio, k = 10 |" in line)
    # The weights of the stub: 0.1, 0.2, 0.3.
    assert f"| 0.200 ± 0.100 | {100 * mean:.1f} ± {100 * std:.1f} |" in line
    random_line = next(line for line in text.splitlines() if line.startswith("| random"))
    assert f"| {100 * sum(random) / 3:.1f} ± {100 * statistics.stdev(random):.1f} |" in random_line
    assert (
        "3 seeds (0, 1, 2) of pre-training and evaluation: a measured value is their mean" in text
    )
    assert sum(line.startswith("| random encoder") for line in text.splitlines()) == 1
    assert not (tmp_path / "mask_ratio.csv").exists()  # it would show one row
    assert "mean weight: the metric `weight` of pre-training" in text
    found = list(csv.DictReader((tmp_path / "k.csv").open()))
    mine = [line for line in found if line["row"] == "k_10"]
    assert [line["seed"] for line in mine] == ["0", "1", "2", "mean", "std"]
    assert [float(line["knn_top1"]) for line in mine] == pytest.approx([*each, mean, std])
    assert [float(line["metric_weight"]) for line in mine] == pytest.approx(
        [0.1, 0.2, 0.3, 0.2, 0.1]
    )
    assert [line["epochs"] for line in mine] == ["2", "2", "2", "2", ""]
    assert [line["row"] for line in found][-5:] == ["random"] * 5


def test_a_seed_that_fails_is_named_and_the_others_are_averaged(
    tiny_ucla, tmp_path, seen, monkeypatch
):
    train = pretrain.run

    def fails(config, folder):
        if folder.name == "seed1":
            raise UserError("the loss of step 1 is nan.")
        return train(config, folder)

    monkeypatch.setattr(pretrain, "run", fails)
    with pytest.raises(UserError, match=r"^row 'amr, seed 1': the loss of step 1 is nan\.$"):
        compare.run(configured(tiny_ucla, seeds=3, only="amr"), tmp_path)
    assert "amr (2 of 3 seeds)" in table(tmp_path, "comparison")
    values = [top1(tmp_path / "amr" / part / "knn") for part in ("", "seed2")]
    text = table(tmp_path, "comparison")
    spread = f"{50 * sum(values):.1f} ± {100 * statistics.stdev(values):.1f}"
    assert f"| {spread} |" in text


def test_equal_time_is_measured_once_for_all_seeds_of_a_row(tiny_ucla, tmp_path, seen, monkeypatch):
    measured = []

    def measure(config, seconds, folder):
        measured.append(folder.name)
        folder.mkdir()
        workdir.write(folder / budget.FILE, json.dumps({"epochs": 7.0}))
        return 7.0

    monkeypatch.setattr(budget, "measure", measure)
    config = configured(tiny_ucla, budget="seconds", seconds=5.0, seeds=2)
    compare.run(config, tmp_path)
    assert measured == ["mamp", "amr"]
    for folder in ("mamp", "mamp/seed1", "amr", "amr/seed1"):
        assert workdir.read_config(tmp_path / folder).epochs == 7.0
    seen.clear()
    compare.run(config, tmp_path)
    assert (seen, measured) == ([], ["mamp", "amr"])


def test_a_row_of_an_earlier_version_is_read(tiny_ucla, tmp_path, seen):
    compare.run(configured(tiny_ucla, ablation, only="full"), tmp_path)
    path = tmp_path / "full" / cells.ROW_FILE
    old = json.loads(path.read_text())
    for key in ("seed", "untrained", "last_metrics"):
        del old[key]
    path.write_text(json.dumps(old))
    (found,) = compare.run(configured(tiny_ucla, ablation, only="full"), tmp_path)["full"]
    assert (found["seed"], found["last_metrics"]["weight"]) == (0, 0.1)
    assert metrics.read_metrics(tmp_path / "full")[-1] == found["last_metrics"]
    assert "| 0.100 |" in table(tmp_path, "k")


def test_a_wrong_setting_of_an_evaluation_is_refused_before_anything_trains(
    tiny_ucla, tmp_path, seen
):
    config = configured(tiny_ucla, **{"rows.amr.evaluation": ("k=0",)})
    with pytest.raises(UserError, match=r"row 'amr': config\.k = 0: expected at least 1"):
        compare.run(config, tmp_path)
    assert seen == []


def test_a_setting_that_a_method_cannot_have_is_refused_before_anything_trains(
    tiny_ucla, tmp_path, seen
):
    config = configured(tiny_ucla, **{"rows.amr.overrides": ("judged=average",)})
    with pytest.raises(
        UserError, match=r"row 'amr': config\.judged = 'average': expected 'encoder'"
    ):
        compare.run(config, tmp_path)
    assert seen == []


def untrained(tiny_ucla, tmp_path, *overrides):
    config = configured(tiny_ucla, **{"rows.amr.overrides": overrides})
    return trained.Training.of(config, tmp_path, "amr", 0).untrained()


def test_what_reaches_a_random_encoder_decides_who_shares_it(tiny_ucla, tmp_path):
    plain = untrained(tiny_ucla, tmp_path)
    for alike in ("input.absent_frames=counted", "input.storage=float32", "model.k=1"):
        assert untrained(tiny_ucla, tmp_path, alike) == plain
    for other in ("matmul_precision=default", "input.stream=bone", "input.body_frame=first"):
        assert untrained(tiny_ucla, tmp_path, other) != plain


def test_seeds_must_be_one_or_more(tiny_ucla, tmp_path):
    with pytest.raises(UserError, match=r"config\.seeds = 0: expected at least 1"):
        compare.run(configured(tiny_ucla, seeds=0), tmp_path)


def test_a_row_starts_from_the_encoder_of_another_row_with_the_same_seed(
    tiny_ucla, tmp_path, seen, monkeypatch
):
    how = {"only": "amr_stars", "seeds": 2, "overrides": ("input.split=train", "amr:optim.lr=0.0")}
    with pytest.raises(UserError, match=r"row amr_stars: .* not trained yet; .* name both rows"):
        compare.run(configured(tiny_ucla, rivals, **how), tmp_path)
    seen.clear()
    monkeypatch.setattr(
        trained.checkpoint, "has_one", lambda folder: (Path(folder) / "metrics.jsonl").exists()
    )
    how["only"] = "amr,amr_stars"
    compare.run(configured(tiny_ucla, rivals, **how), tmp_path)
    assert [name for name in seen if "knn" not in name] == [
        "amr", "amr_stars", "amr/seed1", "amr_stars/seed1",
    ]  # fmt: skip
    for seed in ("", "seed1"):
        config = workdir.read_config(tmp_path / "amr_stars" / seed)
        assert config.start_from == str(tmp_path / "amr" / seed)
        assert config.encoder == workdir.read_config(tmp_path / "amr" / seed).encoder
    # A comparison that was moved stays finished.
    seen.clear()
    tmp_path.rename(tmp_path.with_name("moved"))
    compare.run(configured(tiny_ucla, rivals, **how), tmp_path.with_name("moved"))
    assert seen == []
