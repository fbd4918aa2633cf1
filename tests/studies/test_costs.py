"""Costs compared with the paper's column, with counts by hand, and with the compiler's."""

import jax
import jax.numpy as jnp
import pytest

from amr_jax import methods
from amr_jax.benchmark import full_size
from amr_jax.config import files
from amr_jax.studies import costs
from tests.benchmark.tiny import SMALL
from tests.methods import small

GIGA = 1e9


@pytest.mark.parametrize(
    ("name", "model", "gflops", "within"),
    [
        ("mamp", {}, 13.7, 0.03),
        ("sjepa", {}, 32.8, 0.03),
        ("gfp", {}, 4.1, 0.1),
        ("nat", {"contrast": 0.1}, 32.8, 0.03),
        ("amr", {}, 3.8, 0.03),
    ],
)
def test_linear_layers_cost_what_the_paper_reports(name, model, gflops, within):
    method = methods.build(small.full_size(name, **model))
    assert costs.linear_flops(method, 2) / GIGA == pytest.approx(gflops, rel=within)


def test_cost_of_amr_by_decoder_depth():
    method = methods.build(small.full_size("amr", decoder_depth=4))
    # The published count embeds all patches; here only the visible ones are embedded.
    embedded_in_vain = 2 * 2 * (750 - 75) * 12 * 256
    total = costs.linear_flops(method, 2) + embedded_in_vain
    assert total / GIGA == pytest.approx(3.39, abs=0.005)


def test_linear_flops_by_hand():
    # 20 patches of 9 values, 6 of them visible; width 8, decoder 12; one block each, MLP 4 times.
    block = 8 * 24 + 8 * 8 + 2 * 8 * 32
    encoder = 6 * (9 * 8 + block)
    wide = 12 * 36 + 12 * 12 + 2 * 12 * 48
    mask_tokens = 6 * 8 * 12 + 20 * wide + 20 * 12 * 9
    queries = 6 * 8 * 12 + 10 * (12 * 12 + 12 * 12 + 2 * 12 * 48) + 6 * 12 * 24 + 10 * 12 * 18
    momentum = 20 * (9 * 8 + block)

    for name, model, products in (
        ("mamp", {}, encoder + mask_tokens),
        ("amr", {}, encoder + queries),
        ("nat", {"contrast": 0.1}, encoder + mask_tokens + momentum),
    ):
        method = methods.build(small.config(name, **model))
        assert costs.linear_flops(method, 1) == 2 * products
    # Traced before: counted all the same.
    assert costs.linear_flops(method, 1) == 2 * products


def test_linear_flops_of_slim_at_full_size_by_hand():
    config = files.get_config("slim:ntu60_xsub")
    config.dtype = "float32"
    blocks = 8 * (256 * 3 * 256 + 256 * 256 + 256 * 2 * 688 + 688 * 256)
    # Global views have 8 times, and those of the student's local ones 4, 2, 2 and 1.
    student, teacher = 25 * (2 * 8 + 2 * (4 + 2 + 2 + 1)), 25 * 2 * 8
    patches = (student + teacher) * 8 * 3 * 256
    tokens = student + teacher + (2 + 8 + 2) * 5  # a class token and four registers a view
    head = 256 * 2048 + 2048 * 2048 + 2048 * 256 + 256 * 65_536
    rows = (10 + 2) + (200 + 200)  # class tokens; patches of the view that is partly hidden
    expected = 2 * (patches + tokens * blocks + rows * head)
    assert costs.linear_flops(methods.build(config), 1) == expected
    assert 2 * expected / GIGA == pytest.approx(69.5, abs=0.05)  # of a sequence of two bodies


def test_the_compiler_counts_the_linear_layers_and_little_more():
    # Wide and short, so that linear layers are most of it.
    size = {"encoder": {"width": 128, "num_heads": 2}, "decoder_width": 128, "decoder_heads": 2}
    method = methods.build(small.config("amr", **size))
    linear = costs.linear_flops(method, 2)
    assert linear <= costs.forward_flops(method, 2) < 2 * linear


def test_peak_bytes_count_what_is_donated_once():
    def peak(function, donated):
        x = jax.ShapeDtypeStruct((100, 10), jnp.float32)  # 4,000 bytes
        compiled = jax.jit(function, donate_argnums=donated).lower(x, x).compile()
        return costs.peak_bytes(compiled.memory_analysis())

    assert peak(lambda x, y: x + y, ()) == 3 * 4000
    assert peak(lambda x, y: x + y, (0,)) == 2 * 4000
    # x yᵀ, 40,000 bytes, lives until it is multiplied by y.
    assert 3 * 4000 + 40000 <= peak(lambda x, y: (x @ y.T) @ y, ()) < 3 * 4000 + 2 * 40000


def test_costs_of_a_config():
    config = full_size.config_of(full_size.Row("amr", "amr"), 4, "float32", "xla", SMALL)
    found = costs.of_config(config, bodies=1)
    assert (found.num_patches, found.num_predicted) == (6 * 25, 25)
    # Width 8, one block: patch_embed, positions (6 times, 25 joints), the block, the last norm.
    block = 12 * 8**2 + 13 * 8
    encoder = (12 * 8 + 8) + 31 * 8 + block + 2 * 8
    assert found.encoder_parameters == encoder
    # The decoder: embed, positions (1 time), queries, a block whose context has no norm of its own,
    # the last norm, pred of 6 · 4 frames.
    decoder = (8**2 + 8) + 26 * 8 + 25 * 8 + block + 2 * 8 + (8 * 72 + 72)
    assert found.parameters == encoder + decoder
    assert found.linear_gflops * GIGA == costs.linear_flops(methods.build(config), 1)
    assert found.linear_gflops < found.compiler_gflops
    # Parameters and Adam's two averages of them, and four clips of 24 × 25 × 3, in float32.
    held = 4 * (3 * found.parameters + 4 * 24 * 25 * 3)
    assert held < found.step_bytes < 100 * held
