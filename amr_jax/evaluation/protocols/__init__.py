"""Protocols: ways to measure what a pre-trained encoder has learned.

The contract. A protocol is one file with one function

    run(task: Task, config: ConfigDict, log: Log) -> Outcome

(evaluation/task.py), one line in `PROTOCOLS`, and one config. `evaluate` builds the task, calls
`run` for the pre-trained encoder and for a random one with the same config, and makes tables,
confusion matrices and files from the outcomes; comparisons take their columns from `PROTOCOLS`.
Neither depends on which protocol ran. `run` reads its own keys from the config, calls `log` once an
epoch, and leaves `task.params` as they are. Every test sequence counts exactly once. A protocol
that trains the encoder can do so from scratch: the section `scratch` of its config describes the
encoder to train where `config.pretrained` is empty. What protocols share is in evaluation/.
"""

from amr_jax.evaluation.protocols import finetune, knn, linear, retrieval, ridge, semi
from amr_jax.evaluation.task import Protocol

PROTOCOLS = {
    "linear": Protocol(linear.run, "linear", has_logits=True),
    "ridge": Protocol(ridge.run, "ridge", has_logits=True),
    "knn": Protocol(knn.run, "1-NN", (knn.WITHOUT_TWINS, knn.FEATURE_STD)),
    "retrieval": Protocol(
        retrieval.run, "retrieval", (retrieval.MEAN_AVERAGE_PRECISION, retrieval.WITHOUT_TWINS)
    ),
    "finetune": Protocol(finetune.run, "fine-tuned", has_logits=True),
    "semi": Protocol(semi.run, "semi-supervised"),
}
