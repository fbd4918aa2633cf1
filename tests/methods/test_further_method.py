"""A further method needs a file (here: one class), a line in METHODS and a config, nothing else.

The method here uses most of the contract: a random stream of its own, a momentum encoder, a
parameter, a variable that it keeps, the numbers of sequences, and the progress of training.
"""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from amr_jax import evaluate, methods, pretrain
from amr_jax.config import files
from amr_jax.errors import UserError
from amr_jax.methods.masked import MaskedMethod
from amr_jax.models import layers
from amr_jax.ops import presence
from amr_jax.run import checkpoint, metrics
from amr_jax.studies import costs
from configs import knn


class Toy(MaskedMethod):
    """Predicts the mean position of each body, with noise, from its visible tokens."""

    noise: float

    momentum_encoder = True
    streams = ("mask", "drop_path", "noise")

    @property
    def num_predicted(self):
        return 1

    def momentum(self, progress):
        return 0.5 + 0.5 * progress

    @nn.compact
    def __call__(self, clips, present, sequences=None, progress=0.0):
        tokens = self.encoder(clips, self.draw_mask(clips, present), train=True)
        prediction = layers.dense(3, self.dtype, "mean")(tokens.mean(1))
        prediction += self.param("anchor", nn.initializers.zeros, (3,))
        target = presence.mean(clips, present[..., None], (1, 2))
        target += self.noise * jax.random.normal(self.make_rng("noise"), target.shape)
        calls = self.variable("state", "calls", jnp.zeros, ())
        if self.is_mutable_collection("state") and not self.is_initializing():
            calls.value = calls.value + 1
        loss = jnp.square(prediction - target).mean()
        if sequences is None:  # in `init`
            sequences = jnp.zeros(len(clips), jnp.int32)
        assert sequences.shape == clips.shape[:1]
        teacher = jnp.abs(self.momentum_tokens(clips)).mean()
        told = {"sequence": sequences.mean(), "progress": jnp.float32(progress)}
        return loss, {"loss": loss, "teacher": teacher, **told}


CONFIG = """
from amr_jax.config import base
from amr_jax.config.settings import Setting

SETTINGS = {"noise": Setting(0.1, "standard deviation of the noise", low=0)}

def get_config(argument):
    return base.pretraining("toy", argument)
"""


def test_a_further_method_needs_no_other_file(tiny_ucla, tmp_path, monkeypatch):
    monkeypatch.setitem(methods.METHODS, "toy", Toy)
    monkeypatch.setattr(files, "FOLDERS", [*files.FOLDERS, tmp_path])
    (tmp_path / "toy.py").write_text(CONFIG)
    config = files.get_config("toy:nwucla,runlocal")
    config.model.noise = -1.0
    with pytest.raises(UserError, match=r"config\.model\.noise = -1\.0: expected at least 0"):
        pretrain.run(config, tmp_path / "toy")
    config.model.noise = 0.01
    config.data_dir, config.input.split = str(tiny_ucla), "train"
    config.encoder.num_frames, config.encoder.width, config.epochs = 24, 8, 4  # 10 steps
    config.encoder.depth, config.optim.accumulate = 1, 2
    state = pretrain.run(config, tmp_path / "toy", jax.devices()[:1])
    assert state.variables["state"]["calls"] == 10
    lines = metrics.read_metrics(tmp_path / "toy")
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert [line["progress"] for line in lines] == pytest.approx([0.05, 0.25, 0.45, 0.65, 0.85])
    assert all(5 < line["sequence"] < 34 for line in lines)  # means of numbers from 0 to 39

    # Kept in the checkpoint, all of it: a finished run that is started again stays as it is.
    again = pretrain.run(config, tmp_path / "toy", jax.devices()[:1])
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), state, again))
    checkpoint.load_encoder(tmp_path / "toy", average=True)

    judged = knn.get_config("nwucla,runlocal")
    judged.pretrained, judged.random_encoder = str(tmp_path / "toy"), False
    judged.train_split, judged.test_split = "train", "test"
    results = evaluate.run(judged, tmp_path / "knn")
    assert results["pretraining"]["method"] == "toy"

    method = methods.build(pretrain.resolve(config))
    assert method.num_predicted == 1
    assert costs.linear_flops(method, bodies=1) > 0
