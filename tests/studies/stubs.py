"""Pre-training and evaluation that compute nothing, for tests of what a comparison runs."""

import json
import zlib

import numpy as np

from amr_jax import evaluate, pretrain
from amr_jax.evaluation import encoder_under_test, score_file
from amr_jax.evaluation.accuracy import accuracies
from amr_jax.run import metrics, workdir
from amr_jax.studies import costs, pictures

COSTS = costs.Costs(240, 40, 1000, 900, 0.25, 0.5, 2**20)
LABELS = np.arange(40, dtype=np.int32) % 3


def install(monkeypatch, root) -> list[str]:
    """Replaces all that is slow; returns the list of folders, below `root`, of later runs.

    A pre-training ends at once, with a `weight` of a tenth of its seed plus one. An evaluation has
    random logits, which depend on stream, seed, protocol and encoder.
    """
    seen = []

    def train(config, folder):
        seen.append(str(folder.relative_to(root)))
        config = pretrain.resolve(config)
        with config.unlocked():
            config.input.found = "none"
        folder.mkdir(parents=True, exist_ok=True)
        workdir.start(folder, config, pretrain.FREE_KEYS)
        line = {"step": 10, "timed_steps": 8, "timed_seconds": 16.0 + config.seed}
        line["weight"] = (config.seed + 1) / 10
        workdir.write(folder / metrics.METRICS_FILE, json.dumps(line) + "\n")

    def judge(config, folder):
        seen.append(str(folder.relative_to(root)))
        pretraining = workdir.read_config(config.pretrained)
        config = encoder_under_test.resolve(config, pretraining)
        folder.mkdir(parents=True, exist_ok=True)
        workdir.start(folder, config, evaluate.FREE_KEYS)
        encoders = ["pretrained", *(["random"] if config.random_encoder else [])]
        logits = {name: drawn(config, pretraining, name) for name in encoders}
        classes = ("a", "b", "c")
        names = np.array([f"s{i}" for i in range(len(LABELS))])
        score_file.write(folder, score_file.Scores(names, LABELS, classes, logits))
        results = {
            "encoders": {name: accuracies(x, LABELS) for name, x in logits.items()},
            "train_sequences": 80,
            "test_sequences": len(LABELS),
        }
        workdir.write(folder / evaluate.RESULTS_FILE, json.dumps(results))
        return results

    monkeypatch.setattr(pretrain, "run", train)
    monkeypatch.setattr(evaluate, "run", judge)
    monkeypatch.setattr(costs, "of_config", lambda config, bodies: COSTS)
    monkeypatch.setattr(pictures, "comparison", lambda *_, **__: b"")
    return seen


def drawn(config, pretraining, encoder: str) -> np.ndarray:
    """Logits (S, 3) that are right more often than chance."""
    what = (config.protocol, config.seed, pretraining.input.stream, encoder)
    noise = np.random.default_rng(zlib.crc32(repr(what).encode())).normal(size=(len(LABELS), 3))
    return (noise + np.eye(3)[LABELS]).astype(np.float32)
