"""Semi-supervised evaluation: fine-tuning on a small share of the labels, in several draws.

Each draw has its own class-balanced subset (evaluation/subsets.py), initial head and views; the
result is the mean over the draws.
"""

from collections.abc import Callable

import jax
import numpy as np

from amr_jax.evaluation.protocols.finetune import Trainer
from amr_jax.evaluation.subsets import subset
from amr_jax.evaluation.task import Log, Outcome, Task


def run(task: Task, config, log: Log) -> Outcome:
    """The protocol: `finetune` on `config.draws` subsets of `config.fraction` of the sequences.

    Reads from the config the keys of `finetune.Trainer` and `fraction`, `draws`, `seed`.

    Returns:
      Predictions (draws, S); the means over the draws of top-1 and top-5 after the last epoch, with
      several draws also `top1_std` and `top5_std`, sample standard deviations (n − 1); and the
      metrics of each draw.

    Raises:
      UserError: a training that diverged.
    """
    train = task.train.host
    subsets = [
        subset(train.names, train.label, config.fraction, config.seed, draw)
        for draw in range(config.draws)
    ]
    trainer = Trainer(task, config, subsets)
    outcomes = [
        trainer.fit(
            chosen, jax.random.fold_in(jax.random.key(config.seed), draw), _named(log, draw)
        )
        for draw, chosen in enumerate(subsets)
    ]
    draws = tuple(outcome.metrics for outcome in outcomes)
    metrics = {"labelled_sequences": len(subsets[0]), "draws": config.draws}
    metrics["epochs"] = draws[0]["epochs"]
    for key in ("top1", "top5"):
        values = [draw[key] for draw in draws]
        metrics[key] = float(np.mean(values))
        if config.draws > 1:
            metrics[f"{key}_std"] = float(np.std(values, ddof=1))
    return Outcome(
        predictions=np.stack([outcome.predictions for outcome in outcomes]),
        metrics=metrics,
        draws=draws,
    )


def _named(log: Log, draw: int) -> Callable[[int, dict[str, float]], None]:
    """`log` for one draw: names its scalars draw1/…, draw2/…"""
    return lambda epoch, scalars: log(
        epoch, {f"draw{draw + 1}/{name}": value for name, value in scalars.items()}
    )
