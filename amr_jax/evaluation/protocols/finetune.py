"""Fine-tuning: encoder and head trained together on the labels (methods.md, "Downstream").

On a random encoder, the same is supervised training from scratch.
"""

import jax
import jax.numpy as jnp
import numpy as np

from amr_jax.errors import UserError
from amr_jax.evaluation.protocols import fitting, packing
from amr_jax.evaluation.protocols.scores import accuracies, summary
from amr_jax.evaluation.protocols.task import Classifier, Log, Outcome, Task
from amr_jax.models import heads
from amr_jax.run import sharding


def run(task: Task, config, log: Log) -> Outcome:
    """The protocol: fine-tunes on the whole training split.

    Reads from the config, beside the keys of `Trainer`: `seed`.

    Returns:
      Scores and the trained classifier after the last epoch; top-1 and top-5 then, and of the
      epochs that were tested the best.

    Raises:
      UserError: a training that diverged (in which epoch).
    """
    everything = np.arange(len(task.train.host.label), dtype=np.int32)
    return Trainer(task, config, [everything]).fit(everything, jax.random.key(config.seed), log)


class Trainer:
    """Fine-tunes on subsets of the training split, all by one compiled step.

    Args:
      task: what is judged; its parameters stay as they are.
      config: these keys are read here:
        epochs, min_steps: passes over the subset; more, where those are fewer than so many steps.
        test_epochs: the test is seen every so many of `epochs`, and after the last one.
        batch_size: sequences at most; an epoch's batches differ by one at most.
        bodies: see `models.heads.POOLINGS`. seed: of the order of the sequences.
        drop_path: stochastic depth of the encoder. label_smoothing.
        head.hidden, head.dropout: of `FinetuneHead`.
        optim: see `fitting.Optim`; `warmup_epochs` of `epochs`.
      subsets: the sequences of each training that `fit` will be called for; equally many in each.
    """

    def __init__(self, task: Task, config, subsets: list[np.ndarray]):
        self._task, self._config = task, config
        mesh = task.train.mesh
        per_epoch = len(self._order(subsets[0], 0))
        self._epochs = max(config.epochs, -(-config.min_steps // per_epoch))
        stretch = self._epochs / config.epochs
        self._test_every = max(1, round(config.test_epochs * stretch))

        optim = {key: value for key, value in config.optim.items() if key != "warmup_epochs"}
        self._model = fitting.Model(
            encoder=task.encoder.clone(drop_path=config.drop_path),
            head=heads.build("finetune", self._head_settings()),
            optim=fitting.Optim(
                warmup_steps=round(config.optim.warmup_epochs * stretch * per_epoch),
                total_steps=self._epochs * per_epoch,
                **optim,
            ),
            label_smoothing=config.label_smoothing,
        )
        self._train_slots = packing.slots(task.train.host, config.bodies)
        # Of all trainings: one shape, compiled once.
        self._capacity = packing.capacity(
            (self._order(subset, epoch) for subset in subsets for epoch in range(self._epochs)),
            self._train_slots,
            mesh.size,
        )
        test_slots = packing.slots(task.test.host, config.bodies)
        order = packing.in_turn(len(task.test.host.label), config.batch_size)
        size = packing.capacity([order], test_slots, mesh.size)
        self._test = self._put(packing.pack(order, test_slots, size))

    def _head_settings(self) -> dict:
        return {
            "num_classes": self._task.num_classes,
            "num_joints": self._task.encoder.num_joints,
            **self._config.head,
        }

    def _order(self, subset: np.ndarray, epoch: int) -> np.ndarray:
        """An epoch's batches: numbers of sequences of the training split."""
        config = self._config
        order = packing.epoch_order(config.seed, epoch, len(subset), config.batch_size)
        return np.append(subset, np.int32(len(self._task.train.host.label)))[order]

    def _put(self, tree):
        return sharding.put(tree, sharding.replicated(self._task.train.mesh))

    def fit(self, subset: np.ndarray, key: jax.Array, log: Log) -> Outcome:
        """Trains on the sequences `subset` (n,) of the training split, tests on the test split.

        Args:
          subset: one of those that the trainer was made for.
          key: of the head's initial values, views and drops.
          log: see `task.Log`.
        """
        task, mesh = self._task, self._task.train.mesh
        init_key, view_key, drop_key = jax.random.split(key, 3)
        state = fitting.init(task.params, init_key, model=self._model, mesh=mesh)
        labels, test_labels = self._put((task.train.host.label, task.test.host.label))
        history = {}
        for epoch in range(1, self._epochs + 1):
            batches = packing.pack(
                self._order(subset, epoch - 1), self._train_slots, self._capacity
            )
            state, loss = fitting.train_epoch(
                state,
                task.train,
                labels,
                self._put(batches),
                jax.random.fold_in(view_key, epoch),
                drop_key,
                model=self._model,
                view=task.train_view,
            )
            scalars = {"train_loss": float(loss)}
            self._refuse_diverged(epoch, scalars["train_loss"], loss)
            if epoch % self._test_every == 0 or epoch == self._epochs:
                logits = self._test_logits(state)
                self._refuse_diverged(epoch, scalars["train_loss"], logits)
                history[epoch] = scalars = scalars | accuracies(logits, test_labels)
            log(epoch, scalars)
        return Outcome(
            predictions=np.asarray(jnp.argmax(logits, axis=1), np.int32),
            metrics=summary(history),
            scores=np.asarray(logits),
            classifier=self._classifier(state),
        )

    def _test_logits(self, state: fitting.State) -> jax.Array:
        """(S, K) of the test split, every sequence once."""
        test = self._task.test
        rows = fitting.logits(
            state,
            test,
            self._test,
            model=self._model,
            view=self._task.test_view,
        )
        return rows[: len(test.host.label)]

    def _refuse_diverged(self, epoch: int, loss: float, values: jax.Array) -> None:
        if not jnp.isfinite(values).all():
            raise UserError(
                f"fine-tuning diverged in epoch {epoch} of {self._epochs} (loss {loss}); lower "
                f"config.optim.lr, which is {self._config.optim.lr}, or set "
                "config.optim.clip_norm=1.0."
            )

    def _classifier(self, state: fitting.State) -> Classifier:
        return Classifier(
            head="finetune",
            head_settings=self._head_settings(),
            params=jax.device_get(state.params),
            batch_stats={"head": jax.device_get(state.batch_stats)},
            bodies=self._config.bodies,
        )
