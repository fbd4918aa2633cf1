"""Ensembles of rows: their numbers, when they are made again, and what is refused."""

import json

import numpy as np
import pytest
from ml_collections import ConfigDict

from amr_jax import compare, evaluate
from amr_jax.__main__ import main as amr_jax_command
from amr_jax.errors import UserError
from amr_jax.run import workdir
from configs import streams
from tests.studies import stubs


@pytest.fixture
def seen(monkeypatch, tmp_path):
    return stubs.install(monkeypatch, tmp_path)


def table(folder, name):
    return (folder / f"{name}.md").read_text()


def configured(data_dir, **changes):
    config = streams.get_config("nwucla,runlocal")
    config.data_dir = str(data_dir)
    config.overrides = ("input.split=train",)
    config.update_from_flattened_dict(changes)
    return config


def by_hand(weights, seed, protocol="linear", encoder="pretrained"):
    """Top-1 of the weighted sum of the softmax of the stub's logits."""
    total = 0
    for stream, weight in weights.items():
        config = ConfigDict({"protocol": protocol, "seed": seed})
        run = ConfigDict({"input": {"stream": stream}})
        e = np.exp(np.float64(stubs.drawn(config, run, encoder)))
        total = total + weight * e / e.sum(1, keepdims=True)
    return float((total.argmax(1) == stubs.LABELS).mean())


EQUAL = {"joint": 1, "bone": 1, "motion": 1}


def test_an_ensemble_for_every_seed_and_protocol_with_logits(tiny_ucla, tmp_path, seen, capsys):
    config = configured(tiny_ucla, seeds=2, protocols=("linear", "finetune", "knn"))
    found = compare.run(config, tmp_path)
    assert list(found) == ["joint", "bone", "motion", "ensemble"]
    assert not any("ensemble" in folder for folder in seen)
    for seed, cell in enumerate(found["ensemble"]):
        where = "ensemble" if seed == 0 else "ensemble/seed1"
        assert json.loads((tmp_path / where / "row.json").read_text()) == cell
        assert list(cell["protocols"]) == ["linear", "finetune"]
        for protocol, encoders in cell["protocols"].items():
            for encoder, judged in encoders.items():
                assert judged["top1"] == by_hand(EQUAL, seed, protocol, encoder)
            # The command gives the same.
            members = [tmp_path / s / ("seed1" if seed else "") / protocol for s in EQUAL]
            amr_jax_command(["ensemble", *map(str, members), f"--workdir={tmp_path / 'out'}"])
            command = json.loads((tmp_path / "out" / evaluate.RESULTS_FILE).read_text())
            assert command["encoders"] == encoders
    assert [cell["training_seconds"] for cell in found["ensemble"]] == [60.0, 63.75]
    text = table(tmp_path, "streams")
    names = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")][2:]
    assert names == [f"| {s} stream" for s in EQUAL] + [
        "| ensemble of the streams",
        *(f"| random encoder: {s} stream" for s in EQUAL),
        "| random encoder: ensemble of the streams",
    ]
    assert (
        "ensemble of the streams: the softmax of the logits, 1 × joint stream + 1 × bone stream + "
        "1 × motion stream, of the same seed." in text
    )
    accuracy = [by_hand(EQUAL, seed) for seed in (0, 1)]
    line = next(line for line in text.splitlines() if line.startswith("| ensemble"))
    assert f"| {50 * sum(accuracy):.1f} ± {100 * np.std(accuracy, ddof=1):.1f} |" in line
    assert "| – | – |" in line  # 1-NN has no logits


def test_it_is_made_again_for_other_weights_and_for_new_scores_only(tiny_ucla, tmp_path, seen):
    (first,) = compare.run(configured(tiny_ucla), tmp_path)["ensemble"]
    assert compare.run(configured(tiny_ucla), tmp_path)["ensemble"] == [first]
    weighted = configured(tiny_ucla, **{"rows.ensemble.weights": (0.0, 2.0, 0.5)})
    (second,) = compare.run(weighted, tmp_path)["ensemble"]
    weights = {"joint": 0, "bone": 2, "motion": 0.5}
    assert second["protocols"]["linear"]["pretrained"]["top1"] == by_hand(weights, 0)
    assert "0 × joint stream + 2 × bone stream" in table(tmp_path, "streams")
    seen.clear()
    path = tmp_path / "bone" / "row.json"
    workdir.write(path, path.read_text().replace('"finished": "20', '"finished": "19'))
    (third,) = compare.run(weighted, tmp_path)["ensemble"]
    assert [member["finished"][:2] for member in third["members"]] == ["20", "19", "20"]
    assert seen == []


def test_it_waits_for_its_members(tiny_ucla, tmp_path, seen):
    with pytest.raises(UserError, match=r"row 'ensemble': made of rows .*: bone, motion\. Finish"):
        compare.run(configured(tiny_ucla, only="joint,ensemble"), tmp_path)
    assert "Not finished yet: bone, motion, ensemble." in table(tmp_path, "streams")
    compare.run(configured(tiny_ucla, only="bone,motion"), tmp_path)
    assert "| bone stream |" in table(tmp_path, "streams")
    seen.clear()
    assert "ensemble" in compare.run(configured(tiny_ucla), tmp_path)
    assert seen == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"protocols": ("knn",)},
            r"config\.protocols = .*row 'ensemble' can sum: 'linear', 'ridge' or",
        ),
        ({"rows.ensemble.weights": (1.0, 1.0)}, r"weights=1\.0,1\.0: found 2; expected 3"),
        ({"rows.ensemble.weights": (0.0, 0.0, 0.0)}, r"rows\.ensemble\.weights=.*not all 0"),
        ({"rows.ensemble.members": ("joint", "bones", "motion")}, r"row = 'bones'.*mean 'bone'"),
        ({"rows.ensemble.members": ("joint",)}, r"members = .*expected at least two rows"),
        ({"tables.streams.plot": "model.x"}, r"plot = 'model\.x': expected 'time', or a key of"),
        ({"tables.streams.scale": "x"}, r"scale = 'x': expected 'log' or 'linear'"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_anything_trains(
    tiny_ucla, tmp_path, seen, changes, message
):
    with pytest.raises(UserError, match=message):
        compare.run(configured(tiny_ucla, **changes), tmp_path)
    assert seen == []
