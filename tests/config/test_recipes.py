"""The recipes of AMR: what they change, at every size, and what stays the paper's."""

import pytest

from amr_jax.config import files, settings

CHANGED = {
    "augment.max_angles": (0.3, 0.3, 0.3),
    "input.body_frame": "first",
    "model.motion_stride": 4,
    "model.normalisation": "body",
    "optim.min_lr": 1e-5,
}


def flat(spec):
    return settings.flat(files.get_config(spec))


@pytest.mark.parametrize("name", ["nwucla", "kard", "nwucla+utd+kard", "utd,runlocal"])
def test_the_small_recipe_is_the_small_model_with_another_loading_and_target(name):
    paper, recipe = flat(f"amr:{name}"), flat(f"amr_small:{name}")
    found = {key: value for key, value in recipe.items() if value != paper[key]}
    assert found == {key: value for key, value in CHANGED.items() if value != paper[key]}


def test_the_full_recipe_has_the_sizes_of_the_paper():
    paper, recipe, small = map(flat, ("amr:ntu60_xsub", "amr_full:ntu60_xsub", "amr_full:nwucla"))
    found = {key: value for key, value in recipe.items() if value != paper[key]}
    changed = {**CHANGED, "model.motion_stride": 10}
    assert found == {key: value for key, value in changed.items() if value != paper[key]}
    sizes = ("encoder.width", "encoder.depth", "model.decoder_depth", "epochs", "batch_size")
    assert [small[key] for key in sizes] == [paper[key] for key in sizes]


def test_published_rules_stay_where_the_recipe_has_none():
    recipe, published = flat("amr_small:nwucla,published"), flat("amr:nwucla,published")
    assert recipe["model.round_visible"] == published["model.round_visible"] == "down"
    assert recipe["model.normalisation"] == "body"
