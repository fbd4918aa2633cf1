"""Workdirs made by hand, as commands leave them, and their pages."""

import json
from pathlib import Path

import numpy as np

from amr_jax import evaluate, pretrain
from amr_jax.evaluation import encoder_under_test
from amr_jax.evaluation.task import Outcome
from amr_jax.report import evaluation, page, pretraining
from amr_jax.run import workdir
from configs import amr, linear
from tests.evaluation import tiny

HOSTILE = "<script>alert(\"1\")</script> & 'x' {{ 7 * 7 }}"


def a_run(folder: Path, command: str | None = "amr-jax pretrain --config=amr:nwucla") -> Path:
    """A run of 20 dispatches; returns its page."""
    config = amr.get_config("nwucla")
    config.epochs, config.optim.lr = 20, 0.002
    folder.mkdir(parents=True)
    workdir.start(folder, pretrain.resolve(config), set())
    lines = [
        {"step": 50 * k, "epoch": float(k), "loss": 1 / k, "grad_norm": 2.0, "weight": 0.5}
        | {"feature_std": 0.5}
        | {"timed_seconds": 2.0 * (k - 1), "timed_steps": 50 * (k - 1), "sequences_per_s": 800.0}
        for k in range(1, 21)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    facts = {"data": HOSTILE}
    page.write(folder, lambda: pretraining.content(folder, command, facts))
    return folder / page.FILE


def an_evaluation(folder: Path, run: Path, num_classes: int = 4) -> tuple[Path, dict]:
    """A linear evaluation of `run`; the last class does not occur. Returns its page, results."""
    config = linear.get_config("nwucla")
    config.pretrained = str(run)
    folder.mkdir(parents=True)
    config = encoder_under_test.resolve(config, workdir.read_config(run))
    workdir.start(folder, config, evaluate.FREE_KEYS)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, num_classes - 1, 40 * num_classes)
    test = tiny.make_bodies(np.ones((len(labels), 1)), labels, num_classes)
    names = (HOSTILE, *(f"class {k} {'drink water ' * (k % 3)}" for k in range(1, num_classes)))
    object.__setattr__(test, "class_names", names)
    outcomes = {}
    for name, right in (("pretrained", 0.8), ("random", 0.3)):
        guess = rng.integers(0, num_classes - 1, len(labels))
        predictions = np.where(rng.random(len(labels)) < right, labels, guess)
        top1 = float((predictions == labels).mean())
        outcomes[name] = Outcome(predictions, {"top1": top1, "top5": 0.99})
    measured = {f"{name}/{key}" for name in outcomes for key in ("top1", "train_loss")}
    lines = [{"step": k, **dict.fromkeys(measured, k / 10)} for k in range(1, 4)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = {
        "protocol": "linear",
        "encoders": {name: outcome.metrics for name, outcome in outcomes.items()},
        "pretraining": {"workdir": str(run)},
        "classes_in_test": num_classes - 1,
    }
    splits = (test, test)
    notes = [f"{HOSTILE}: a note."]
    page.write(
        folder,
        lambda: evaluation.content(folder, None, {"data": "x"}, notes, found, (), splits, outcomes),
    )
    return folder / page.FILE, found
