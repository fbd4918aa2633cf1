"""The fixture of the launchers' tests."""

import pytest

from tests.launch.fakes import Place


@pytest.fixture
def place(tmp_path) -> Place:
    """A folder in which launchers find fakes of gcloud, SLURM and Python."""
    return Place(tmp_path)
