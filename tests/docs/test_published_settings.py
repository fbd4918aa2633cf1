"""The page of published settings says what the configs say."""

import ast
import re

import pytest

from amr_jax.config import base
from tests.config.test_configs import COMPARISONS, DATASETS, MASKING, METHODS, PROTOCOLS
from tests.config.test_published import flat
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "published_settings.md").read_text(encoding="utf-8")
EVERY = {
    "every method": METHODS,
    "every method that masks": MASKING,
    "every protocol": sorted(PROTOCOLS),
}


def table(heading: str) -> list[tuple[list[str], list[str], list[str]]]:
    """Rows below a heading: names of configs, starts of data sets ('': every), other cells."""
    part = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = []
    for line in re.findall(r"^\| (.+) \|$", part, re.MULTILINE)[1:]:
        where, *cells = (cell.strip() for cell in line.split(" | "))
        configs, _, data = where.partition(" on ")
        names = EVERY.get(configs) or re.findall("`(\\w+)`", configs)
        rows.append((names, re.findall("`(\\w+)`", data) or [""], cells))
    assert rows
    return rows


def value(cell: str):
    return ast.literal_eval(re.fullmatch("`(.+)`", cell)[1])


@pytest.mark.parametrize("name", [*METHODS, *sorted(PROTOCOLS | COMPARISONS)])
def test_each_difference_has_a_row_and_each_row_is_a_difference(name):
    for dataset in DATASETS:
        without, given = flat(f"{name}:{dataset}"), flat(f"{name}:{dataset},published")
        told = {}
        for names, starts, (key, published, default, *_) in table("What it changes"):
            if name in names and any(dataset.startswith(start) for start in starts):
                told[key.strip("`")] = value(published)
                if dataset not in base.SMALL:  # their models have sizes of their own
                    assert without[key.strip("`")] == value(default), (dataset, key)
        differ = {key: given[key] for key in given if given[key] != without[key]}
        if dataset in base.SMALL:
            told = {key: told[key] for key in differ}
        assert differ == {key: to for key, to in told.items() if to != without[key]}, dataset
        assert {key: given[key] for key in told} == told, dataset


@pytest.mark.parametrize(
    "heading", ["What is published and also the default", "What nobody published [open]"]
)
def test_defaults_are_those_of_the_configs(heading):
    for names, _, (key, default, *_) in table(heading):
        for name in names:
            assert flat(f"{name}:pku1_xsub")[key.strip("`")] == value(default), (name, key)
