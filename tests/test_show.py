"""The command show, as a user calls it."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from amr_jax import show as command
from amr_jax.__main__ import main
from amr_jax.pictures import features
from tests import raw_sets, tiny_models
from tests.pictures.clips import standing


def show(*arguments) -> None:
    main(["show", *map(str, arguments)])


def refused(arguments, capsys) -> str:
    with pytest.raises(SystemExit) as ended:
        show(*arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.fixture
def clip(tmp_path):
    np.save(tmp_path / "wave.npy", standing())
    return tmp_path / "wave.npy"


@pytest.mark.parametrize("kind", ["png", "pdf", "svg", "gif", "html"])
def test_a_clip_becomes_a_file(clip, tmp_path, capsys, kind):
    show("clip", clip, f"--out={tmp_path}/wave.{kind}")
    assert (tmp_path / f"wave.{kind}").stat().st_size > 2000
    assert capsys.readouterr().out.startswith(f"{tmp_path}/wave.{kind}: ")


def test_several_files_are_strips_in_one_picture(clip, tmp_path):
    (tmp_path / "S001C001P001R001A001.skeleton").write_text(
        raw_sets.skeleton_text(raw_sets.body(0))
    )
    one, both = tmp_path / "one.png", tmp_path / "both.png"
    show("clip", clip, f"--out={one}", "--width=column", "--columns=4")
    show(
        "clip", clip, tmp_path / "S001C001P001R001A001.skeleton", f"--out={both}", "--width=column"
    )
    one, both = Image.open(one), Image.open(both)
    assert one.width == both.width == 680
    assert both.height > one.height + 100


def test_a_record_of_a_data_set(tiny_ucla, tmp_path, capsys):
    out = tmp_path / "record.png"
    show("clip", f"--data_dir={tiny_ucla}", "--dataset=nwucla", "--index=2", f"--out={out}")
    assert "a01_s01_e00_v03" in capsys.readouterr().out or out.exists()
    Image.open(out).verify()


def test_arrays_of_detectors_and_other_layouts(tmp_path, capsys):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", joints=rng.uniform(1, 9, (4, 17, 2)), confidence=np.ones((4, 17)))
    show("clip", tmp_path / "a.npz", f"--out={tmp_path}/a.png")
    np.save(tmp_path / "b.npy", rng.normal(size=(4, 7, 3)))
    said = refused(["clip", tmp_path / "b.npy", f"--out={tmp_path}/b.png"], capsys)
    assert "joints of shape (4, 1, 7, 3); expected joints of one known layout" in said
    assert "--layout=" in said
    assert not (tmp_path / "b.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out=x.png"], "WHAT is missing: expected one of clip, seen"),
        (["clap", "--out=x.png"], "unknown picture 'clap'"),
        (["clip"], "--out is missing"),
        (["clip", "a.npy", "--out=x.bmp"], "expected a name that ends in .png"),
        (["clip", "--out=x.png"], "expected files to draw, or --dataset=NAME"),
        (["clip", "a.mov", "--out=x.png"], "a name that ends in '.mov'"),
        (["clip", "nowhere.npy", "--out=x.png"], "nowhere.npy"),
        (["seen", "--out=x.png"], "--run is missing: the workdir of a pre-training run"),
        (["seen", "--run=nowhere", "--out=x.png"], "nowhere/config.json: not found"),
        (["attention", "a.npy", "b.npy", "--run=r", "--out=x.pdf"], "found 2 files"),
        (["attention", "--run=r", "--out=x.gif"], "expected a name that ends in .png"),
        (["curves", "--out=x.pdf"], "expected workdirs of runs"),
        (["map", "--out=x.pdf"], "--run is missing"),
        (["clip", "a.npy", "--out=a.npy"], "--out=a.npy: expected a name"),
    ],
)
def test_slips_are_told(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refused(arguments, capsys)
    assert not list(tmp_path.iterdir())


def test_one_animation_shows_one_clip(clip, tmp_path, capsys):
    said = refused(["clip", clip, clip, f"--out={tmp_path}/x.gif"], capsys)
    assert "x.gif: found 2 sequences; expected one file" in said
    assert "fps: found 0; expected" in refused(
        ["clip", clip, f"--out={tmp_path}/x.gif", "--fps=0"], capsys
    )
    assert not (tmp_path / "x.gif").exists()


def test_slips_are_told_before_jax_is_there():
    code = """
import sys
from amr_jax.__main__ import main
for slip in (["clap", "--out=x.png"], ["clip", "--out=x.bmp"], ["seen", "--out=x.png"]):
    try:
        main(["show", *slip])
    except SystemExit:
        assert "jax" not in sys.modules
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("error: ") == 3


def test_a_number_beyond_the_end(clip, tiny_ucla, tmp_path, capsys):
    said = refused(["clip", clip, "--index=3", f"--out={tmp_path}/x.png"], capsys)
    assert "found no more than 3 sequences; expected --index= of one" in said
    record = ["clip", f"--data_dir={tiny_ucla}", "--dataset=nwucla", "--index=999"]
    assert "nwucla test has 20 sequences" in refused([*record, f"--out={tmp_path}/x.png"], capsys)


def test_what_pretraining_sees_and_where_it_looks(clip, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "_MASKS", 1)  # the program of the other picture
    (tmp_path / "run").mkdir()
    tiny_models.save_run(tmp_path / "run", "amr", masking="random")
    for what in ("seen", "attention"):
        show(what, clip, f"--run={tmp_path}/run", f"--out={tmp_path}/{what}.png")
        assert Image.open(tmp_path / f"{what}.png").width == 1400
    assert capsys.readouterr().out.count("wave.npy") == 2


def test_features_and_curves_of_a_run(tiny_ucla, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(features, "embedded", lambda x, method, seed: x[:, :2])
    run = tmp_path / "run"
    run.mkdir()
    tiny_models.save_run(run, "amr", masking="random")
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n')
    data = [f"--run={run}", f"--data_dir={tiny_ucla}"]
    show("neighbours", *data, "--rows=2", f"--out={tmp_path}/n.png")
    show("curves", run, f"--out={tmp_path}/c.png")
    show("map", *data, f"--out={tmp_path}/m.png")
    for name in ("n.png", "c.png", "m.png"):
        Image.open(tmp_path / name).verify()
    said = capsys.readouterr().out
    assert "neighbours of 2 among 40 training clips" in said
    assert "20 clips" in said
