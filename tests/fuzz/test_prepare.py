"""`prepare` on a folder with damaged files: the records of the other files stay the same.

By default the command ends at the first damaged file, names it, and writes no records;
`--on_bad_file=skip` leaves damaged files out and lists them.
"""

import json
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds

from amr_jax.__main__ import main as amr_jax_command
from tests import custom_sets, raw_sets
from tests.fuzz import mutations, structured


def write_ucla(folder):
    folder.mkdir()
    for episode in range(6):
        for view in (1, 3):
            name = f"a01_s01_e{episode:02}_v{view:02}"
            joints = np.random.default_rng(episode + 10 * view).normal(size=(2, 20, 3))
            content = {"file_name": name, "skeletons": joints.tolist(), "label": 1}
            (folder / f"{name}.json").write_text(json.dumps(content))


def write_own(folder):
    for number in range(8):
        name, split = f"{'x' * number}{number}", ("train", "test")[number % 2]
        custom_sets.write_npz(folder, name, label=str(number // 4), split=split)


# data set -> (writer of raw files, pattern of files to damage, flags, file of a sequence).
SETS = {
    "ntu_rgbd60": (raw_sets.write_ntu, "*.skeleton", {}, "{}.skeleton"),
    "nw_ucla": (write_ucla, "*.json", {}, "{}.json"),
    "pku_mmd": (raw_sets.write_pku, "skeleton/*.txt", {}, "{:.6}.txt"),
    "custom": (
        write_own,
        "*.npz",
        {"name": "own", "layout": "coco_17", "channels": "xyz"},
        "{}.npz",
    ),
}
SPECIAL = {"nw_ucla": structured.JSON, "custom": structured.ZIP}


def run(dataset, raw, out, **options) -> None:
    options |= {"dataset": dataset, "manual_dir": raw, "data_dir": out, "num_workers": 1}
    amr_jax_command(["prepare", *(f"--{key}={value}" for key, value in options.items())])


def records(out) -> dict:
    """(folder of records, split, name) -> fields of the record, as bytes."""
    found = {}
    for info in out.rglob("dataset_info.json"):
        builder = tfds.builder_from_directory(info.parent)
        for split in builder.info.splits:
            for example in builder.as_data_source(split):
                content = {key: np.asarray(value).tobytes() for key, value in example.items()}
                where = str(info.parent.relative_to(out))
                found[where, split, example["name"].decode()] = content
    return found


def damage(paths, special) -> set[str]:
    """Damages every third file; returns the names."""
    chosen = sorted(paths)[::3]
    for number, path in enumerate(chosen):
        rng = np.random.default_rng([4, number])
        mutant = mutations.make(rng, [path.read_bytes()], special, is_text=not special)
        path.write_bytes(mutant.data)
    # At least one file is surely refused.
    chosen[0].write_bytes(chosen[0].read_bytes()[:50])
    return {path.name for path in chosen}


@pytest.mark.parametrize("dataset", SETS)
def test_damaged_files_do_not_touch_the_others(dataset, tmp_path, capsys):
    write, pattern, options, file_of = SETS[dataset]
    raw = tmp_path / "raw"
    write(raw)
    run(dataset, raw, tmp_path / "untouched", **options)
    shutil.copytree(raw, tmp_path / "damaged")
    damaged = damage((tmp_path / "damaged").glob(pattern), SPECIAL.get(dataset, ()))

    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        run(dataset, tmp_path / "damaged", tmp_path / "failed", **options)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert any(f"/{name}" in said for name in damaged)
    assert list((tmp_path / "failed").rglob("*.array_record*")) == []

    run(dataset, tmp_path / "damaged", tmp_path / "out", on_bad_file="skip", **options)
    before, after = records(tmp_path / "untouched"), records(tmp_path / "out")
    listed = json.loads(next((tmp_path / "out").rglob("left_out.json")).read_text())
    assert after.keys() < before.keys()
    refused = {file_of.format(name) for _, _, name in before.keys() - after.keys()}
    assert refused <= damaged
    for name in refused:
        assert any(name in entry["file"] and name in entry["why"] for entry in listed)
    for key, content in after.items():
        if file_of.format(key[2]) not in damaged:
            assert content == before[key], key
