"""Launches, bytes and collectives of compiled programs: by hand, and against the compiler."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from amr_jax.benchmark import compiled
from amr_jax.benchmark.compiled import Collective
from amr_jax.run import sharding

# A fusion, a library call with a workspace, a loop of 5 iterations with two launches each, a call
# of a computation; a slice alone in a fusion, and one that the fusion computes on.
GPU = """HloModule jit_f, is_scheduled=true, entry_computation_layout={(f32[8]{0})->f32[8]{0}}

%fused (p0: f32[8], p1: bf16[4,2]) -> f32[8] {
  %p0 = f32[8]{0} parameter(0)
  %p1 = bf16[4,2]{1,0} parameter(1)
  %inside = f32[4,2]{1,0} convert(%p1)
  %flat = f32[8]{0} reshape(%inside)
  ROOT %sum = f32[8]{0} add(%p0, %flat)
}

%alone (p: f32[64]) -> f32[8] {
  %p = f32[64]{0} parameter(0)
  ROOT %part = f32[8]{0} slice(%p), slice={[8:16]}
}

%worked (q: f32[64]) -> f32[8] {
  %q = f32[64]{0} parameter(0)
  %part.1 = f32[8]{0} slice(%q), slice={[8:16]}
  ROOT %n = f32[8]{0} negate(%part.1)
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

ENTRY %main (a: f32[8], k: bf16[4,2], l: f32[64]) -> f32[8] {
  %a = f32[8]{0} parameter(0), metadata={op_name="a"}
  %k = bf16[4,2]{1,0} parameter(1)
  %l = f32[64]{0} parameter(2)
  %f = f32[8]{0} fusion(%a, %k), kind=kLoop, calls=%fused
  %gemm = (bf16[4,4]{1,0}, s8[33554432]{0}) custom-call(%k, %k), custom_call_target="__cublas$lt$matmul", backend_config={"x":{"y":"1"}}
  %s = f32[8]{0} fusion(%l), kind=kLoop, calls=%alone
  %w = f32[8]{0} fusion(%l), kind=kLoop, calls=%worked
  %c = s32[] constant(0)
  %init = (s32[], f32[8]{0}) tuple(%c, %f)
  %loop = (s32[], f32[8]{0}) while(%init), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"5"},"known_init_step":{"init":"0","step":"1"}}
  %out = f32[8]{0} get-tuple-element(%loop), index=1
  ROOT %called = f32[8]{0} call(%out), to_apply=%buffer
}
"""  # noqa: E501

# A transfer of a quarter of an array into on-chip memory, and a fusion that works there.
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
    found = {name: (times, traffic) for name, times, traffic in compiled.launches(GPU)}
    assert found == {
        "f": (1, 32 + 16 + 32),
        "gemm": (1, 16 + 32),  # its operand is read once, the workspace not at all
        "s": (1, 64),  # a part of an operand
        "w": (1, 32 + 256),
        "next": (5, 4 + 4),
        "y": (5, 32 + 32),
        "copied": (1, 64),
    }


def test_on_chip_memory_is_no_traffic():
    # Two rows of four floats come in, and as many go out.
    assert compiled.launches(TPU) == [("end", 1, 32), ("f", 1, 32)]


def test_bytes_agree_with_the_compiler_of_this_machine():
    def function(x, y):
        return jnp.tanh(x @ y).T + 1

    x = jax.ShapeDtypeStruct((64, 32), jnp.float32)
    y = jax.ShapeDtypeStruct((32, 16), jnp.float32)
    program = jax.jit(function).lower(x, y).compile()
    found = compiled.summary(program)
    assert found["bytes"] == program.cost_analysis()["bytes accessed"]
    assert found["collectives"] == {}


# A loop of 3 iterations with a sum over pairs, a gathering whose groups are written as a shape, an
# asynchronous sum over axes of a mesh, a fusion that keeps a part of a sum, and a hand-over; a
# group of one chip exchanges nothing.
COLLECTIVES = """HloModule jit_f, is_scheduled=true, num_partitions=8

%all-reduce-scatter.1 (p: f32[16]) -> f32[2] {
  %p = f32[16]{0} parameter(0)
  %whole = f32[16]{0} all-reduce(%p), replica_groups={}, to_apply=%add
  %zero = s32[] constant(0)
  ROOT %part = f32[2]{0} dynamic-slice(%whole, %zero), dynamic_slice_sizes={2}
}

%body (state: (s32[], f32[8])) -> (s32[], f32[8]) {
  %state = (s32[], f32[8]{0}) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %x = f32[8]{0} get-tuple-element(%state), index=1
  %pairs = f32[8]{0} all-reduce(%x), channel_id=1, replica_groups={{0,1},{2,3},{4,5},{6,7}}, to_apply=%add
  ROOT %t = (s32[], f32[8]{0}) tuple(%i, %pairs)
}

ENTRY %main (x: f32[8], y: bf16[2,2], z: f32[16]) -> f32[8] {
  %x.1 = f32[8]{0} parameter(0)
  %y = bf16[2,2]{1,0} parameter(1)
  %z = f32[16]{0:T(8,128)S(1)} parameter(2)
  %c = s32[] constant(0)
  %init = (s32[], f32[8]{0}) tuple(%c, %x.1)
  %loop = (s32[], f32[8]{0}) while(%init), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"3"}}
  %rows = bf16[8,2]{1,0} all-gather(%y), channel_id=2, replica_groups=[2,4]<=[8], dimensions={0}
  %begin = (f32[16]{0}, f32[16]{0}) all-reduce-start(%z), channel_id=3, replica_groups=mesh['a'=2,'b'=4] {'a','b':(1)2}, to_apply=%add
  %end = f32[16]{0} all-reduce-done(%begin)
  %mine = f32[2]{0} fusion(%z), kind=kCustom, calls=%all-reduce-scatter.1
  %next = f32[16]{0} collective-permute(%z), channel_id=4, source_target_pairs={{0,1},{1,0}}
  %alone = f32[16]{0} all-reduce(%z), channel_id=5, replica_groups={{0},{1},{2},{3},{4},{5},{6},{7}}, to_apply=%add
  ROOT %out = f32[8]{0} get-tuple-element(%loop), index=1
}
"""  # noqa: E501


def test_collectives_by_hand():
    found = compiled.collectives(COLLECTIVES)
    assert found == [
        Collective("all-reduce", 2, 32, 3),
        Collective("all-gather", 4, 32),
        Collective("all-reduce", 4, 64),
        Collective("reduce-scatter", 8, 64),
        Collective("collective-permute", 8, 64),
    ]
    # Twice half of 32 three times; 3/4 of 32; twice 3/4 of 64; 7/8 of 64; 64.
    assert [c.sent for c in found] == [96, 24, 96, 56, 64]
    assert compiled.sent(found) == 336


@pytest.mark.parametrize(("fsdp", "group"), [(1, 8), (4, 4)])
def test_collectives_of_a_real_program(fsdp, group):
    mesh = sharding.make_mesh(jax.devices()[:8], fsdp)
    split = jax.sharding.NamedSharding(mesh, P("fsdp" if fsdp > 1 else "data"))
    gather = jax.jit(lambda x: jnp.tanh(x), out_shardings=sharding.replicated(mesh))
    x = jax.ShapeDtypeStruct((64, 4), jnp.float32, sharding=split)
    text = gather.lower(x).compile().as_text()
    assert compiled.collectives(text) == [Collective("all-gather", group, 64 * 4 * 4)]
