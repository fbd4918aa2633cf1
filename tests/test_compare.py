"""The command: two rows, interrupted and resumed; wrong settings; equal time."""

import json
import shutil

import jax
import pytest

from amr_jax import compare, evaluate, methods, pretrain
from amr_jax.errors import UserError
from amr_jax.run import lock, metrics, sharding, workdir
from amr_jax.studies import budget, cells, costs
from configs import compare as methods_config
from tests.report.parsed import Page


def configured(data_dir, **changes):
    """Two rows at a size that compiles in seconds."""
    config = methods_config.get_config("nwucla,runlocal")
    config.data_dir = str(data_dir)
    config.only = "mamp,amr"
    config.overrides = (
        "input.split=train",
        "steps_per_dispatch=1",  # all are equally long: one program to compile
        "encoder.num_frames=24",
        "encoder.width=16",
        "encoder.depth=1",
        "model.decoder_width=16",
    )
    config.protocols = ("knn",)
    config.protocol_overrides = ("knn.train_split=train", "knn.test_split=test")
    config.update_from_flattened_dict(changes)
    return config


def counted(config, bodies):
    """`costs.of_config` without compiling."""
    method = methods.build(config)
    gflops = costs.linear_flops(method, bodies) / 1e9
    return costs.Costs(method.encoder.num_patches, method.num_predicted, 2, 1, gflops, gflops, 1)


def quick(monkeypatch):
    """Uses one of the eight simulated devices, and compiles nothing to count costs."""
    make_mesh = sharding.make_mesh
    monkeypatch.setattr(
        sharding, "make_mesh", lambda devices=None, fsdp=1: make_mesh(jax.devices()[:1], fsdp)
    )
    monkeypatch.setattr(costs, "of_config", counted)


def watched(monkeypatch):
    """A list that gets the folder of every pre-training and evaluation from now on."""
    seen = []
    for module in (pretrain, evaluate):
        run = module.run

        def noting(config, folder, run=run):
            seen.append(f"{folder.parent.name}/{folder.name}")
            return run(config, folder)

        monkeypatch.setattr(module, "run", noting)
    return seen


@pytest.fixture(scope="module")
def finished(tiny_ucla, tmp_path_factory):
    """A comparison of two rows, killed before the last evaluation and started again."""
    folder = tmp_path_factory.mktemp("comparisons") / "two"
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        run = evaluate.run

        def dies(config, where):
            if where.parent.name == "amr" and where.name == "knn":
                raise KeyboardInterrupt
            return run(config, where)

        patch.setattr(evaluate, "run", dies)
        with pytest.raises(KeyboardInterrupt):
            compare.run(configured(tiny_ucla), folder)
    assert (folder / "mamp" / cells.ROW_FILE).exists()
    assert not (folder / "amr" / cells.ROW_FILE).exists()
    before = (folder / "comparison.md").read_text()
    assert "| MAMP |" in before
    assert "| AMR |" not in before
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        seen = watched(patch)
        rows = compare.run(configured(tiny_ucla), folder, command="python -m it")
    # The pre-training of amr is resumed at its last step, so it has nothing left to do.
    assert seen == ["two/amr", "amr/knn"]
    return folder, rows


def test_two_rows_write_their_results_and_tables(finished):
    folder, rows = finished
    assert list(rows) == ["mamp", "amr"]
    for name, (row,) in rows.items():
        assert json.loads((folder / name / cells.ROW_FILE).read_text()) == row
        assert row["steps"] == metrics.read_metrics(folder / name)[-1]["step"] == 5
        assert row["training_seconds"] > 0
        assert (row["train_sequences"], row["test_sequences"], row["bodies"]) == (40, 20, 1)
        results = json.loads((folder / name / "knn" / "results.json").read_text())
        assert row["protocols"] == {"knn": results["encoders"]}
        assert row["protocols"]["knn"]["pretrained"]["feature_std"] > 0
    # The random encoder is the same for all rows, so it is evaluated with the first one only.
    assert [list(row["protocols"]["knn"]) for (row,) in rows.values()] == [
        ["pretrained", "random"],
        ["pretrained"],
    ]
    (mamp,), (amr,) = rows.values()
    assert mamp["costs"]["num_predicted"] == 6 * amr["costs"]["num_predicted"]
    assert mamp["costs"]["linear_gflops"] > amr["costs"]["linear_gflops"] > 0
    text = (folder / "comparison.md").read_text()
    assert [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")] == [
        "| method",
        "| ---",
        "| MAMP",
        "| AMR",
        "| random encoder",
    ]
    assert "Command: `python -m it`" in text
    shown = Page(folder / "report.html")
    shown.check()
    links = {a.get("href") for tag, a in shown.tags if tag == "a"}
    assert {"mamp/report.html", "amr/report.html", "amr/knn/report.html"} <= links
    Page(folder / "amr" / "report.html").check()


def test_finished_rows_are_not_run_again(finished, monkeypatch, tmp_path, capsys):
    folder, rows = finished
    seen = watched(monkeypatch)
    monkeypatch.setattr(costs, "of_config", lambda *_: pytest.fail("counted again"))
    (folder / "comparison.md").unlink()
    # The records are not read, either.
    assert compare.run(configured("/nowhere"), folder, command="python -m it") == rows
    assert seen == []
    assert "| AMR |" in (folder / "comparison.md").read_text()
    assert "| AMR |" in capsys.readouterr().out
    # Finished rows that are not selected stay in the table.
    assert list(compare.run(configured("/nowhere", only="mamp"), folder)) == ["mamp", "amr"]


def test_a_row_without_results_is_evaluated_again(finished, monkeypatch, tmp_path, tiny_ucla):
    folder, rows = finished
    copy = tmp_path / "two"
    shutil.copytree(folder, copy)
    shutil.rmtree(copy / "mamp" / "knn")
    quick(monkeypatch)
    seen = watched(monkeypatch)
    # Only if the row is selected.
    assert list(compare.run(configured(tiny_ucla, only="amr"), copy)) == ["amr"]
    assert seen == []
    again = compare.run(configured(tiny_ucla), copy)
    assert seen == ["two/mamp", "mamp/knn"]
    assert list(again) == ["mamp", "amr"]
    for encoder, judged in again["mamp"][0]["protocols"]["knn"].items():
        assert judged["top1"] == rows["mamp"][0]["protocols"]["knn"][encoder]["top1"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 3}, r"another config.*config\.epochs: None in the workdir, 3 now"),
        ({"overrides": ()}, r"row 'mamp': .*config\.encoder\.width: 16 in the workdir, 32 now"),
        ({"protocol_overrides": ()}, r"row 'mamp': .*mamp/knn.*config\.test_split: test in "),
        ({"rows.amr.overrides": ("model.k=0.1",)}, r"row 'amr': .*model\.k: 0\.01 .*, 0\.1 now"),
        ({"rows.amr.overrides": ("model.q=1",)}, r"row 'amr': config\.model\.q: unknown key"),
        ({"only": "gfp"}, r"row 'gfp': config\.model\.levels = .*: expected each a divisor of 6"),
    ],
)
def test_another_config_is_refused_by_row_and_key(finished, tiny_ucla, changes, message):
    folder, _ = finished
    with pytest.raises(UserError, match="(?s)" + message):
        compare.run(configured(tiny_ucla, **changes), folder)
    assert workdir.read_config(folder).epochs is None


def test_a_protocol_of_another_config_is_refused(finished, tiny_ucla, monkeypatch):
    folder, _ = finished
    real = compare.rows.protocol

    def edited(config, name, row, on):
        made = real(config, name, row, on)
        made.test_split = "train"
        return made

    monkeypatch.setattr(compare.rows, "protocol", edited)
    with pytest.raises(
        UserError, match=r"(?s)row 'mamp': .*mamp/knn.*config\.test_split: test .*, train now"
    ):
        compare.run(configured(tiny_ucla), folder)


def test_an_error_in_a_row_comes_with_its_name(tiny_ucla, tmp_path):
    message = r": /nowhere.*python -m amr_jax\.prepare"
    with pytest.raises(UserError, match=f"^row 'mamp'{message}"):
        compare.run(configured("/nowhere", only="mamp"), tmp_path)
    # One that several rows have is said once in the end.
    with pytest.raises(UserError, match=f"^rows 'mamp'; 'amr'{message}"):
        compare.run(configured("/nowhere"), tmp_path)


def test_a_second_start_is_refused(tiny_ucla, tmp_path):
    with lock.hold(tmp_path), pytest.raises(UserError, match="another run uses this workdir"):
        compare.run(configured(tiny_ucla), tmp_path)


def test_a_row_that_fails_is_reported_and_the_others_run(
    finished, tiny_ucla, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "two"
    shutil.copytree(finished[0], folder)
    shutil.rmtree(folder / "mamp")
    (folder / "comparison.md").unlink()
    (folder / "amr" / cells.ROW_FILE).unlink()
    quick(monkeypatch)
    run = pretrain.run

    def fails(config, where):
        if where.name == "mamp":
            raise UserError("the loss of step 1 is nan, not a finite number.")
        return run(config, where)

    monkeypatch.setattr(pretrain, "run", fails)
    with pytest.raises(UserError, match=r"^row 'mamp': the loss of step 1"):
        compare.run(configured(tiny_ucla), folder)
    assert not (folder / "mamp" / cells.ROW_FILE).exists()
    assert (folder / "amr" / cells.ROW_FILE).exists()
    text = (folder / "comparison.md").read_text()
    assert "| AMR |" in text
    assert "| MAMP |" not in text
    assert "error: row 'mamp'" in capsys.readouterr().out


def test_equal_time_is_measured_once_and_kept(tiny_ucla, tmp_path, monkeypatch):
    trained = []

    def fake(config, folder):
        if folder.name == "mamp":
            trained.append((config.epochs, config.optim.warmup_epochs))
            raise KeyboardInterrupt
        # The short run: 4 steps a second, 2.5 steps an epoch.
        line = {"step": 10, "epoch": 4.0, "timed_steps": 8, "timed_seconds": 2.0}
        folder.mkdir(parents=True, exist_ok=True)
        workdir.start(folder, config, set())
        workdir.write(folder / metrics.METRICS_FILE, json.dumps(line) + "\n")

    monkeypatch.setattr(pretrain, "run", fake)
    config = configured(tiny_ucla, budget="seconds", seconds=5.0)
    config.overrides = (*config.overrides, "optim.warmup_epochs=1")
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            compare.run(config, tmp_path)
        monkeypatch.setattr(budget, "measure", lambda *_: pytest.fail("measured again"))
    assert trained == [(8.0, 4.0)] * 2  # of 2 epochs, 1 was warm-up
