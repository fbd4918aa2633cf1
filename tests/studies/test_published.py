"""Published figures are consistent, and belong to rows of the configs."""

import pytest

from amr_jax.data import datasets
from amr_jax.studies import published
from configs import ablation, compare, streams


def test_speed_ups_are_those_of_the_hours():
    for name, row in published.ROWS.items():
        assert set(row.linear) <= set(datasets.DATASETS), name
        assert all(0.3 < accuracy < 1 for accuracy in row.linear.values()), name
        if row.hours:
            assert row.speed_up == pytest.approx(29.9 / row.hours, abs=0.05), name


def test_rows_are_those_of_the_configs():
    rows = {name for c in (compare, ablation, streams) for name in c.get_config("nwucla").rows}
    assert set(published.ROWS) <= rows
    assert published.of("nat").linear == {}


def test_accuracies_are_of_the_data_set_where_all_rows_have_one():
    assert published.accuracies_on(["mamp", "amr", "nat"], "pku2_xsub") == "pku2_xsub"
    assert published.accuracies_on(["dd", "full"], "pku2_xsub") == "ntu60_xsub"
    assert published.accuracies_on(["dd", "full"], "ntu120_xsub") == "ntu120_xsub"
    assert published.accuracies_on(["amr"], "nwucla") == "ntu60_xsub"
    assert published.accuracies_on(["nat"], "ntu60_xview") == "ntu60_xsub"
