"""Protocols: ways to judge a pre-trained encoder by what can be told from it.

The contract. A protocol is one file with one function

    run(task: Task, config: ConfigDict, log: Log) -> Outcome

(task.py), and a line in `PROTOCOLS`. `evaluate` builds the task, calls `run` for the pre-trained
encoder and for a random one with the same config, and makes the tables, the confusion matrices and
the files from the outcomes: nothing there depends on which protocol ran. `run` reads its own keys
from the config, calls `log` once an epoch, raises `UserError` for an option that is not one, and
leaves `task.params` as they are. Every test sequence counts exactly once. A protocol that trains
the encoder can do so from scratch: its config has a section `scratch`, which says what encoder that
is where `config.pretrained` is empty.
"""

from amr_jax.evaluation.protocols import finetune, knn, linear, retrieval, semi
from amr_jax.evaluation.protocols.task import Classifier, Log, Outcome, Task

PROTOCOLS = {
    "linear": linear.run,
    "knn": knn.run,
    "retrieval": retrieval.run,
    "finetune": finetune.run,
    "semi": semi.run,
}

__all__ = ["PROTOCOLS", "Classifier", "Log", "Outcome", "Task"]
