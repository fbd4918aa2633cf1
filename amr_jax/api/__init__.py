"""The Python interface: `import amr_jax as amr`.

The same code as the commands, with workdirs and records in folders of its own where none is given.
"""

from amr_jax.api.data import Data, load_data
from amr_jax.api.drawings import Drawing, show
from amr_jax.api.models import TrainedModel, load, shipped
from amr_jax.api.runs import Evaluation, Run, pretrain
from amr_jax.errors import UserError

__all__ = [
    "Data", "Drawing", "Evaluation", "Run", "TrainedModel", "UserError", "load", "load_data",
    "pretrain", "shipped", "show",
]  # fmt: skip
