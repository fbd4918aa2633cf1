"""The argument of configs: a name or a folder, then options."""

import shutil

import pytest

from amr_jax.__main__ import main as amr_jax_command
from amr_jax.config import arguments
from amr_jax.data import datasets
from amr_jax.errors import UserError
from amr_jax.studies import rows
from configs import ablation, amr, compare, linear, semi
from tests import cases, custom_sets


@pytest.fixture
def own(tmp_path):
    """The folder of custom records, in a folder with a comma and a space."""
    raw = custom_sets.write_pickle(tmp_path / "set.pkl", custom_sets.exchange())
    data = tmp_path / "Surname, Name"
    what = ["--dataset=custom", f"--manual_dir={raw}", f"--data_dir={data}", "--name=d"]
    options = ["--layout=coco_17", "--channels=xyc", "--num_workers=1"]
    amr_jax_command(["prepare", *what, *options])
    return data / "custom" / "d"


@pytest.mark.parametrize(
    ("options", "runlocal", "published"),
    [
        ("", False, False),
        (",runlocal", True, False),
        (",published", False, True),
        (",runlocal,published", True, True),
        (",published,runlocal", True, True),
        (", published , runlocal", True, True),
    ],
)
def test_options_in_any_order(options, runlocal, published):
    read = arguments.read(f"ntu60_xsub{options}")
    assert read == arguments.Argument(
        "ntu60_xsub", datasets.DATASETS["ntu60_xsub"], runlocal, published
    )
    assert (
        arguments.read(arguments.spell(read.name, runlocal=runlocal, published=published)) == read
    )


@pytest.mark.parametrize("options", ["", ",runlocal", ",published,runlocal", ",runlocal,published"])
def test_a_folder_with_commas_and_spaces(own, options):
    folder = own
    read = arguments.read(f"{folder}{options}")
    assert (read.name, read.dataset.records) == (str(folder), str(folder))
    assert (read.runlocal, read.published) == ("runlocal" in options, "published" in options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ntu60_xsub,publishd", r"unknown option 'publishd'.* Did you mean published\?$"),
        ("ntu60_xsub,runlocla,published", r"unknown option 'runlocla'.* Did you mean runlocal\?$"),
        ("ntu60_xsub,", r"unknown option ''; expected after the name ,runlocal or ,published"),
        ("ntu60,runlocal", r"unknown data set 'ntu60'; .* Did you mean ntu60_xsub\?"),
        ("ntu60,runlocla", r"unknown data set 'ntu60'"),
        (",runlocal", r"unknown data set ''"),
        ("runlocal", r"unknown data set 'runlocal'"),
    ],
)
def test_a_wrong_argument_of_a_known_data_set(text, message):
    with pytest.raises(UserError, match=message):
        arguments.read(text)


def test_a_mistyped_option_after_a_folder_and_a_mistyped_folder_are_told_apart(own):
    folder = own
    with pytest.raises(UserError, match=r"unknown option 'runlocl'.* Did you mean runlocal\?$"):
        arguments.read(f"{folder},runlocl")
    with pytest.raises(UserError, match=r"unknown option 'runlocl'"):
        arguments.read(f"{folder},runlocl,published")
    with pytest.raises(UserError, match=r"Surname, Name/custom/e: found no custom data"):
        arguments.read(f"{folder.with_name('e')},runlocal")
    with pytest.raises(UserError, match=r"Surname, Name/custom/e,x: found no custom data"):
        arguments.read(f"{folder.with_name('e,x')},runlocal")


def test_a_folder_whose_name_ends_in_an_option_takes_a_slash(own):
    folder = shutil.copytree(own, own.with_name("d,runlocal"))
    for text in (f"{folder}", f"{folder},published"):
        with pytest.raises(UserError, match=r"ends in an option; expected a slash .*d,runlocal/"):
            arguments.read(text)
    for options in ({}, {"runlocal": True}, {"published": True, "runlocal": True}):
        read = arguments.read(arguments.spell(str(folder), **options))
        assert read.name == str(folder)
        assert (read.runlocal, read.published) == ("runlocal" in options, "published" in options)
    assert arguments.read(f"{own},published,runlocal").name == str(own)


def test_every_config_takes_such_a_folder(own):
    folder = own.rename(own.with_name("d,runlocal"))
    for config in (amr, linear, semi, ablation, compare):
        small = config.get_config(f"{folder}/,runlocal")
        large = config.get_config(f"{folder}/")
        assert small.dataset == large.dataset == str(folder)
        assert small.to_dict() != large.to_dict()
    made = rows.pretraining(compare.get_config(f"{folder}/,runlocal"), "amr")
    assert (made.dataset, made.encoder.width) == (str(folder), 32)


def test_a_tiny_variant_takes_as_few_sequences_as_there_are(own):
    row = datasets.get(str(own))
    assert (row.sequences["train"], row.at_most(16, "train"), row.at_most(5, "train")) == (8, 8, 5)
    assert (row.first("train", 8), row.first("train", 7)) == ("train", "train[:7]")
    assert datasets.get("nwucla").at_most(16, "train") == 16
    config = amr.get_config(f"{own},runlocal")
    assert (config.batch_size, config.input.split) == (8, "train")


def test_the_case_with_a_comma_in_the_path(shared_data, tmp_path):
    """Preparation and training, as one types them."""
    folder, result = cases.run(shared_data, "comma_in_path", tmp_path)
    assert result.stdout.rstrip().endswith("status 0"), result.stdout + result.stderr
    assert (folder / "RUN" / "config.json").is_file()
