"""Launches and bytes of compiled programs: by hand on small texts, and against the compiler."""

import jax
import jax.numpy as jnp

from amr_jax.benchmark import hlo

# What the names say: a loop of 5 rounds with two launches each, a fusion, a library call with room
# to work in, and a call of a computation.
GPU = """HloModule jit_f, is_scheduled=true, entry_computation_layout={(f32[8]{0})->f32[8]{0}}

%fused (p0: f32[8], p1: bf16[4,2]) -> f32[8] {
  %p0 = f32[8]{0} parameter(0)
  %p1 = bf16[4,2]{1,0} parameter(1)
  %inside = f32[4,2]{1,0} convert(%p1)
  %flat = f32[8]{0} reshape(%inside)
  ROOT %sum = f32[8]{0} add(%p0, %flat)
}

%body (state: (s32[], f32[8])) -> (s32[], f32[8]) {
  %state = (s32[], f32[8]{0}) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %x = f32[8]{0} get-tuple-element(%state), index=1
  %next = s32[] add(%i, %i)
  %y = f32[8]{0} multiply(%x, %x), metadata={op_name="jit(f)/while/body/mul"}
  ROOT %t = (s32[], f32[8]{0}) tuple(%next, %y)
}

%condition (state.1: (s32[], f32[8])) -> pred[] {
  %state.1 = (s32[], f32[8]{0}) parameter(0)
  %i.1 = s32[] get-tuple-element(%state.1), index=0
  %five = s32[] constant(5)
  ROOT %less = pred[] compare(%i.1, %five), direction=LT
}

%buffer (b: f32[8]) -> f32[8] {
  %b = f32[8]{0} parameter(0)
  ROOT %copied = f32[8]{0} copy(%b)
}

ENTRY %main (a: f32[8], k: bf16[4,2]) -> f32[8] {
  %a = f32[8]{0} parameter(0), metadata={op_name="a"}
  %k = bf16[4,2]{1,0} parameter(1)
  %f = f32[8]{0} fusion(%a, %k), kind=kLoop, calls=%fused, metadata={op_name="jit(f)/jvp(AMR)/encoder/block_3/mlp/fc1/add" stack_frame_id=7}
  %gemm = (bf16[4,4]{1,0}, s8[33554432]{0}) custom-call(%k, %k), custom_call_target="__cublas$lt$matmul", metadata={op_name="jit(f)/transpose(jvp(AMR))/encoder/block_4/mlp/fc1/dot_general"}, backend_config={"x":{"y":"1"}}
  %c = s32[] constant(0)
  %init = (s32[], f32[8]{0}) tuple(%c, %f)
  %loop = (s32[], f32[8]{0}) while(%init), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"5"},"known_init_step":{"init":"0","step":"1"}}
  %out = f32[8]{0} get-tuple-element(%loop), index=1
  ROOT %called = f32[8]{0} call(%out), to_apply=%buffer
}
"""  # noqa: E501

# A transfer into on-chip memory of a quarter of an array, in which a fusion then works.
TPU = """HloModule jit_f

%fused (p0: f32[2,4]) -> f32[2,4] {
  %p0 = f32[2,4]{1,0:T(8,128)S(1)} parameter(0)
  ROOT %n = f32[2,4]{1,0:T(8,128)} negate(%p0)
}

ENTRY %main (a: f32[8,4]) -> f32[2,4] {
  %a = f32[8,4]{1,0:T(8,128)} parameter(0)
  %begin = ((f32[8,4]{1,0:T(8,128)}), f32[2,4]{1,0:T(8,128)S(1)}, s32[]{:S(2)}) slice-start(%a), slice={[0:2], [0:4]}
  %end = f32[2,4]{1,0:T(8,128)S(1)} slice-done(%begin)
  ROOT %f = f32[2,4]{1,0:T(8,128)} fusion(%end), kind=kLoop, calls=%fused
}
"""  # noqa: E501


def test_launches_by_hand():
    found = hlo.launches(GPU)
    assert hlo.kinds(found) == {
        "add": 5,
        "multiply": 5,
        "fusion": 1,
        "__cublas$lt$matmul": 1,
        "copy": 1,
    }
    traffic = {launch.instruction.name: launch.traffic for launch in found}
    assert traffic == {
        "f": 32 + 16 + 32,
        "gemm": 16 + 32,  # its operand is read once, the room to work in not at all
        "next": 4 + 4,
        "y": 32 + 32,
        "copied": 64,
    }


def test_parts_by_hand():
    assert hlo.by_part(hlo.launches(GPU)) == {
        "outside": (5, 5 * 64),
        "unnamed": (6, 5 * 8 + 64),
        "forward encoder/block/mlp/fc1": (1, 80),
        "backward encoder/block/mlp/fc1": (1, 48),
    }


def test_names_of_parts():
    for op_name, part in {
        "jvp(AMR)/decoder/block_0/cross_attn/vmap()/sub": "forward decoder/block/cross_attn",
        "transpose(jvp(AMR))/decoder/decoder.predict/norm/mul": "backward decoder/norm",
        "jvp(AMR)/reduce_sum": "forward loss",
        "vmap(ij,...j->...i)/dot_general": "outside",
    }.items():
        assert hlo.part(f"jit(dispatch)/while/body/closed_call/{op_name}") == part
    assert hlo.part("") == "unnamed"


def test_what_stays_on_the_chip_is_no_traffic():
    found = hlo.launches(TPU)
    assert hlo.kinds(found) == {"slice": 1, "fusion": 1}
    # Two rows of four floats come in, as many go out.
    assert [launch.traffic for launch in found] == [32, 32]


# A part of a large array by itself, one alone in a fusion, and one that a fusion then works on.
PARTS = """HloModule jit_f

%alone (p: f32[64]) -> f32[8] {
  %p = f32[64]{0} parameter(0)
  ROOT %part = f32[8]{0} slice(%p), slice={[8:16]}
}

%worked (q: f32[64]) -> f32[8] {
  %q = f32[64]{0} parameter(0)
  %part.1 = f32[8]{0} slice(%q), slice={[8:16]}
  ROOT %n = f32[8]{0} negate(%part.1)
}

ENTRY %main (a: f32[64]) -> f32[8] {
  %a = f32[64]{0} parameter(0)
  %s = f32[8]{0} slice(%a), slice={[0:8]}
  %f = f32[8]{0} fusion(%a), kind=kLoop, calls=%alone
  ROOT %w = f32[8]{0} fusion(%a), kind=kLoop, calls=%worked
}
"""


def test_of_a_part_the_part_counts():
    assert [launch.traffic for launch in hlo.launches(PARTS)] == [64, 64, 32 + 256]


def test_bytes_agree_with_the_compiler_of_this_machine():
    def function(x, y):
        return jnp.tanh(x @ y).T + 1

    x = jax.ShapeDtypeStruct((64, 32), jnp.float32)
    y = jax.ShapeDtypeStruct((32, 16), jnp.float32)
    compiled = jax.jit(function).lower(x, y).compile()
    own = sum(launch.times * launch.traffic for launch in hlo.launches(compiled.as_text()))
    assert own == compiled.cost_analysis()["bytes accessed"]
