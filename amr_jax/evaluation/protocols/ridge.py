"""Ridge evaluation: a linear classifier in closed form, on frozen features.

Least squares with a penalty, from standardised features to ±1 for each class: nothing depends on a
learning rate, an order or an initial value. Where a read-out has more values than there are
sequences, this generalises better than the probe by SGD (docs/real_sets.md).

The scores of least squares are no logits. They are multiplied by the factor that gives left-out
training sequences the largest likelihood, so that the softmax of the classifier means something.
"""

import jax
import numpy as np
from scipy import optimize, special

from amr_jax.evaluation import packing
from amr_jax.evaluation.accuracy import accuracies
from amr_jax.evaluation.task import Classifier, Log, Outcome, Task
from amr_jax.models import heads


def solve(x: np.ndarray, y: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Least squares with a penalty, and its predictions for each sequence that is left out.

    W = (XᵀX + λI)⁻¹ XᵀY, with λ = `penalty` · mean(‖row of X‖²). Without the rows of one sequence
    their residuals are (I − H)⁻¹ (Y − XW), where H is the sequence's block of X (XᵀX + λI)⁻¹ Xᵀ.

    Args:
      x: (S, N, F) float64, N views of each sequence; standardised.
      y: (S, K) float64 targets; centred.
      penalty: above 0.

    Returns:
      W (F, K), and left-out predictions (S, K) for the first view of each sequence.
    """
    num, views, width = x.shape
    rows, targets = x.reshape(-1, width), np.repeat(y, views, axis=0)
    axes = None
    if len(rows) < width:  # the same problem among the directions that the rows span
        axes, triangle = np.linalg.qr(rows.T)
        rows = triangle.T
    gram = rows.T @ rows
    gram[np.diag_indices_from(gram)] += penalty * np.square(rows).sum() / len(rows)
    inverse = np.linalg.inv(gram)
    weights = inverse @ (rows.T @ targets)
    blocks = rows.reshape(num, views, -1)
    hat = (rows @ inverse).reshape(blocks.shape) @ blocks.transpose(0, 2, 1)
    residuals = (targets - rows @ weights).reshape(num, views, -1)
    left_out = y - np.linalg.solve(np.eye(views) - hat, residuals)[:, 0]
    return (weights if axes is None else axes @ weights), left_out


def temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """The factor of scores (S, K) under which the softmax gives labels (S,) the most likelihood."""

    def loss(log_factor):
        scaled = np.exp(log_factor) * scores
        own = scaled[np.arange(len(labels)), labels]
        return float((special.logsumexp(scaled, axis=1) - own).mean())

    found = optimize.minimize_scalar(loss, bounds=(np.log(0.1), np.log(1000)), method="bounded")
    return float(np.exp(found.x))


def run(task: Task, config, log: Log) -> Outcome:
    """The protocol: solves for the classifier on `task.train`, tests it on `task.test`.

    Reads from the config `penalty`, as in `solve`; `views`, augmented views of each training
    sequence beside that of the test; `seed`; and what `features.extract` takes. Computed in float64
    on the host.

    Metrics: `top1`, `top5`; `left_out_top1`, of training sequences by a classifier of the others.
    """
    key = jax.random.key(config.seed)
    features = [task.features(task.train, task.test_view, key, config)]
    for view in range(config.views):
        fold = jax.random.fold_in(key, view)
        features.append(task.features(task.train, task.train_view, fold, config))
    x = np.stack([np.asarray(one, np.float64) for one in features], axis=1)
    mean, var = x.mean(axis=(0, 1)), x.var(axis=(0, 1))
    x = (x - mean) / np.sqrt(var + heads.NORM_EPSILON)

    labels = task.train.host.label
    y = 2.0 * np.eye(task.num_classes)[labels] - 1
    offset = y.mean(axis=0)
    weights, left_out = solve(x, y - offset, config.penalty)
    left_out += offset
    factor = temperature(left_out, labels)

    settings = heads.linear_settings(task.num_classes, task.readout, task.encoder)
    dense = {"kernel": factor * weights, "bias": factor * offset}
    params = {"dense": jax.tree.map(np.float32, dense)}
    stats = {"norm": {"mean": np.float32(mean), "var": np.float32(var)}}
    test_x = task.features(task.test, task.test_view, key, config)
    head = heads.build("linear", settings)
    logits = head.apply({"params": params, "batch_stats": stats}, test_x)
    metrics = accuracies(logits, task.test.host.label)
    metrics["left_out_top1"] = float((left_out.argmax(axis=1) == labels).mean())
    log(1, metrics)
    return Outcome(
        predictions=np.asarray(logits).argmax(axis=1).astype(np.int32),
        metrics=metrics,
        scores=np.asarray(logits),
        classifier=Classifier(
            head="linear",
            head_settings=settings,
            params={"encoder": jax.device_get(task.params), "head": params},
            batch_stats={"head": stats},
            bodies=packing.counted(config),
        ),
    )
