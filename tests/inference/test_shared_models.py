"""Models that the package ships, those on the hub, and runs made from them."""

import dataclasses
import hashlib
import sys

import numpy as np
import pytest

import amr_jax as amr
from amr_jax.__main__ import main
from amr_jax.inference import hub, load, model_file, zoo
from amr_jax.run import checkpoint
from docs import zoo_table
from tests import tiny_models

KINECT = np.random.default_rng(0).normal(size=(40, 20, 3))


def test_the_registry_names_the_files_that_are_there():
    names = {path.stem for path in zoo.FOLDER.glob("*.safetensors")}
    assert names == set(zoo.registry()) == set(amr.shipped())
    for name, row in zoo.registry().items():
        content = zoo.find(name).read_bytes()
        assert len(content) == row["bytes"] <= 3e6
        assert hashlib.sha256(content).hexdigest() == row["sha256"]
        model = load.load_model(name)
        assert model.input.layout == row["joints"]
        assert "workdir" not in model.provenance["pretraining"]
        assert "/" not in str(model.provenance["pretraining"])
        share = 100 * model.provenance["encoders"]["pretrained"]["top1"]
        assert row["accuracy"].startswith(f"{share:.2f} % of {model.provenance['test_sequences']}")


def test_the_table_of_the_page_is_up_to_date():
    text = zoo_table.PAGE.read_text(encoding="utf-8")
    assert zoo_table.filled(text) == text, "run: python docs/zoo_table.py"


def test_a_shipped_model_is_found_unless_a_folder_has_its_name(tmp_path, monkeypatch):
    model = amr.load("amr-nwucla-small")
    assert model.predict(KINECT)[0] in model.classes
    assert repr(model) == (
        "TrainedModel('amr-nwucla-small': 10 classes; 20 joints (kinect_20), xyz; "
        "471,082 parameters)"
    )
    monkeypatch.chdir(tmp_path)
    model_file.write("amr-nwucla-small", tiny_models.make())
    assert tuple(amr.load("amr-nwucla-small").classes) == tiny_models.CLASSES


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("amr-nwucla-smal", "Did you mean amr-nwucla-small"),
        ("hf://nobody", "hf://nobody: expected USER/REPO"),
        ("no/such/file", "no/such/file: found No such file"),
    ],
)
def test_other_names_are_refused(name, message):
    with pytest.raises(amr.UserError, match=message):
        amr.load(name)


class Hub:
    """A hub in a folder, in place of `huggingface_hub.HfApi`."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self):
        return self

    def create_repo(self, name, private, exist_ok):
        assert exist_ok
        (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / name / "private").write_text(str(private))

    def upload_folder(self, repo_id, folder_path):
        for file in sorted(type(self.folder)(folder_path).iterdir()):
            (self.folder / repo_id / file.name).write_bytes(file.read_bytes())
        return f"https://hub/{repo_id}/commit"

    def hf_hub_download(self, name, file, revision):
        path = self.folder / name / (revision or "") / file
        if not path.exists():
            raise FileNotFoundError(f"404 Client Error\nfor {path}")
        return str(path)


@pytest.fixture
def on_hub(tmp_path, monkeypatch):
    library = pytest.importorskip("huggingface_hub", reason="the extra `hub` is not installed")
    monkeypatch.setattr(library, "HfApi", Hub(tmp_path / "hub"))
    return tmp_path / "hub"


def test_what_is_pushed_is_loaded_again(on_hub):
    model = amr.TrainedModel(tiny_models.make(), "tiny")
    model.model.provenance["pretraining"] = {"workdir": "/home/me", "dataset": "/home/me/mine"}
    assert model.push_to_hub("me/tiny", private=True) == "https://hub/me/tiny/commit"
    again = amr.load("hf://me/tiny")
    np.testing.assert_array_equal(again.predict_proba(KINECT), model.predict_proba(KINECT))
    assert again.model.provenance["pretraining"] == {"dataset": "mine"}
    card = (on_hub / "me" / "tiny" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: amr_jax")
    assert "A classifier of 3 actions" in card
    assert "/home/me" not in card
    with pytest.raises(amr.UserError, match=r"v2: model.safetensors could not be .*404 Client"):
        amr.load("hf://me/tiny@v2")


def test_export_pushes_what_it_writes(on_hub, tmp_path, capsys):
    out = tmp_path / "out.safetensors"
    command = ["export", "--checkpoint=amr-utd-small", f"--out={out}", "--push=me/utd"]
    main([*command, "--format=safetensors"])
    assert capsys.readouterr().out.endswith("https://hub/me/utd/commit\n")
    assert load.load_model("hf://me/utd").class_names == load.load_model(out).class_names
    out.unlink()
    for wrong in (["--format=stablehlo"], ["--format=safetensors", "--push=nobody"]):
        with pytest.raises(SystemExit):
            main([*command, *wrong])
    assert not out.exists()


def test_the_hub_needs_its_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(amr.UserError, match=r"pip install 'amr_jax\[hub\]'"):
        hub.fetch("hf://me/tiny")


def test_a_model_becomes_a_run(tmp_path):
    shipped = load.load_model("amr-nwucla-small")
    main(["interop", "--import=amr-nwucla-small", f"--workdir={tmp_path}/run"])
    params, config, _ = checkpoint.load_encoder(tmp_path / "run")
    assert (config.dataset, config.method) == ("nwucla", "amr")
    assert config.input.body_frame == shipped.input.body_frame
    kernel = shipped.variables["params"]["encoder"]["patch_embed"]["kernel"]
    np.testing.assert_array_equal(params["patch_embed"]["kernel"], kernel)
    run = amr.Run.of("amr-nwucla-small", dataset="msr")
    same = dataclasses.replace(run.model().model.input, num_bodies=shipped.input.num_bodies)
    assert same == shipped.input
    assert run.model().model.encoder == shipped.encoder
    with pytest.raises(amr.UserError, match="holds a run with checkpoints already"):
        amr.Run.of(shipped_again := amr.load("amr-utd-small"), workdir=run.workdir)
    with pytest.raises(amr.UserError, match=r"kard: found joints of openni_15 \(xyz\)"):
        amr.Run.of(shipped_again, dataset="kard")
