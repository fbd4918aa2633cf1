"""Sizes of models by the number of own sequences, and how they are chosen otherwise."""

import jax
import ml_collections
import numpy as np
import pytest

from amr_jax import evaluate, pretrain
from amr_jax.config import arguments, base, files, settings, sizes
from amr_jax.errors import UserError
from amr_jax.evaluation.encoder_under_test import Subject
from amr_jax.run import checkpoint
from amr_jax.studies import rows
from amr_jax.train import forecast
from tests import custom_sets


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of own sets without records, by their number of training sequences."""

    return {
        count: custom_sets.without_records(tmp_path_factory.mktemp(f"own{count}"), count)
        for count in (20, 224, 3000, 40_000)
    }


def values(config) -> dict:
    keys = {"epochs": 0, "encoder.num_frames": 0, **sizes.SIZES["large"]}
    return {key: settings.lookup(config, key) for key in keys}


@pytest.mark.parametrize(
    ("sequences", "size"),
    [(1, "small"), (2500, "small"), (2501, "base"), (20_000, "base"), (20_001, "large")],
)
def test_a_size_is_chosen_by_the_number_of_sequences(sequences, size):
    assert sizes.fitting(sequences) == size


def test_the_large_size_is_that_of_the_papers_the_defaults():
    defaults = settings.flat(settings.defaults(base.of_method("amr")))
    assert sizes.SIZES["large"] == {key: defaults[key] for key in sizes.SIZES["large"]}


def test_a_batch_is_not_larger_than_the_data():
    batches = [sizes.of("small", n)["batch_size"] for n in (None, 1, 20, 31, 32, 500)]
    assert batches == [32, 1, 16, 16, 32, 32]


@pytest.mark.parametrize(
    ("sequences", "size"), [(20, "small"), (224, "small"), (3000, "base"), (40_000, "large")]
)
def test_own_data_have_the_size_that_fits_them(folders, sequences, size):
    config = files.get_config(f"mamp:{folders[sequences]}")
    assert config.size == size
    assert values(config) == {
        "epochs": 400, "encoder.num_frames": 120, **sizes.of(size, sequences),
    }  # fmt: skip
    files.override(config, ["encoder.width=48", "batch_size=8"])
    assert (config.encoder.width, config.batch_size) == (48, 8)
    pretrain.resolve(config)


def test_an_option_chooses_another_size_of_any_set(folders):
    large = files.get_config(f"amr:{folders[224]},large")
    assert (large.size, large.encoder.depth, large.batch_size) == ("large", 8, 128)
    named = files.get_config("amr:nwucla,base")
    assert (named.size, named.encoder.width, named.encoder.num_frames) == ("base", 192, 48)
    assert files.get_config("amr:nwucla").size is None
    local = files.get_config(f"amr:{folders[224]},small,runlocal")
    assert (local.size, local.encoder.width) == (None, 32)
    recipe = files.get_config(f"amr_full:{folders[224]}")
    assert (recipe.size, recipe.encoder.width) == (None, 256)
    with pytest.raises(UserError, match=r"found the sizes \['small', 'large'\]; expected one"):
        arguments.read("nwucla,small,large")
    with pytest.raises(UserError, match=r"or a size: ,small ,base ,large. Did you mean base\?"):
        arguments.read("nwucla,bse")


def test_every_row_of_a_comparison_has_the_size(folders):
    for argument, width in ((folders[224], 96), (f"{folders[224]},base", 192)):
        config = files.get_config(f"compare:{argument}")
        assert rows.pretraining(config, "amr").encoder.width == width
        assert rows.pretraining(config, "mamp").encoder.width == width
        assert rows.protocol(config, "linear", "amr").dataset == folders[224]


def test_a_run_that_began_before_sizes_goes_on_with_its_own(folders):
    now = files.get_config(f"amr:{folders[224]}")
    before = files.get_config(f"amr:{folders[224]},large")
    before.size, before.model.decoder_depth = None, 3
    resumed = sizes.as_begun(now, before)
    # What its user had set must be set again, as ever.
    assert resumed.size is None
    expected = {**sizes.SIZES["large"], "model.decoder_depth": 2}
    assert values(resumed) == {"epochs": 400, "encoder.num_frames": 120, **expected}
    assert sizes.as_begun(now, now) is now
    assert sizes.as_begun(before, before) is before


def test_resuming_reads_what_an_earlier_version_wrote(folders, tmp_path, monkeypatch):
    before = files.get_config(f"amr:{folders[224]},large")
    del before.size
    (tmp_path / "config.json").write_text(before.to_json_best_effort())
    now = files.get_config(f"amr:{folders[224]}")
    assert pretrain.as_begun(now, tmp_path) is now  # nothing was saved: it begins anew
    monkeypatch.setattr(checkpoint, "has_one", lambda _: True)
    assert pretrain.as_begun(now, tmp_path).encoder.width == 256


def test_a_run_goes_on_with_the_attention_that_it_began_with(folders, tmp_path, monkeypatch):
    now = files.get_config(f"amr:{folders[224]}")
    before = files.get_config(f"amr:{folders[224]}")
    before.attention_kernel = "xla"  # all there was on CPUs
    (tmp_path / "config.json").write_text(before.to_json_best_effort())
    monkeypatch.setattr(checkpoint, "has_one", lambda _: True)
    assert pretrain.as_begun(now, tmp_path).attention_kernel == "xla"
    assert now.attention_kernel == "auto"
    assert pretrain.resolve(now).attention_kernel == "blocks"
    now.attention_kernel = "blocks"  # asked for, and refused later: the run has another
    assert pretrain.as_begun(now, tmp_path).attention_kernel == "blocks"


@pytest.mark.parametrize("protocol", ["linear", "finetune", "semi", "knn"])
@pytest.mark.parametrize("sequences", [224, 3000])
def test_evaluations_of_earlier_versions_keep_their_settings(
    protocol, sequences, folders, tmp_path, monkeypatch
):
    own, judged = folders[sequences], []
    with monkeypatch.context() as patch:
        patch.setattr(base, "is_small", lambda name: False)
        before = files.get_config(f"{protocol}:{own},large")
    expected = settings.flat(before) | {"size": None}
    del before.size, before.writers

    def stop(config):
        judged.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr(Subject, "of", stop)
    now = files.get_config(f"{protocol}:{own}")
    (tmp_path / "config.json").write_text(before.to_json_best_effort())
    for name in ("none", "results.json", "config.json"):
        (tmp_path / name).touch()  # without results, it begins anew
        with pytest.raises(KeyboardInterrupt):
            evaluate.run(now, tmp_path)
        if name == "results.json":  # what an evaluation writes when it runs again
            (tmp_path / "config.json").write_text(judged[-1].to_json_best_effort())
    assert judged[0] is now
    assert now.size == ("small" if sequences == 224 else "base")
    assert [settings.flat(config) for config in judged[1:]] == [expected] * 2
    if protocol == "finetune":  # what the user asks for now
        files.override(now, ["optim.lr=0.002"])
        assert evaluate.as_begun(now, tmp_path).optim.lr == 0.002


def test_the_banner_says_why_and_warns():
    told = forecast.size("small", 224)
    assert told == "small, for 224 training sequences (,base or ,large after the data set: another)"
    assert forecast.size(None, 224) == ""
    params = {"encoder": {"kernel": jax.ShapeDtypeStruct((5000, 1000), np.float32)}}
    assert "5,000,000 parameters for 224 sequences" in forecast.large_for_data(params, 224)
    assert forecast.large_for_data(params, 500) == ""


def test_a_config_of_another_kind_is_left_alone():
    config = ml_collections.ConfigDict({"method": "mine"})
    assert sizes.as_begun(config, config) is config
