"""Collectives of compiled programs: by hand on a small text, and of a real one."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from amr_jax.benchmark import collectives
from amr_jax.benchmark.collectives import Collective
from amr_jax.run import sharding

# What the names say: a loop of 3 rounds with a sum over pairs, a collection whose groups are
# written as a shape, one with a start and an end, one over an axis of a mesh, one in a fusion that
# keeps a part, and a hand-over; a group of one chip exchanges nothing.
TEXT = """HloModule jit_f, is_scheduled=true, num_partitions=8

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %s = f32[] add(%a, %b)
}

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

%condition (state.1: (s32[], f32[8])) -> pred[] {
  %state.1 = (s32[], f32[8]{0}) parameter(0)
  %i.1 = s32[] get-tuple-element(%state.1), index=0
  %three = s32[] constant(3)
  ROOT %less = pred[] compare(%i.1, %three), direction=LT
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
    found = collectives.of_program(TEXT)
    assert found == [
        Collective("all-reduce", 2, 32, 3),
        Collective("all-gather", 4, 32),
        Collective("all-reduce", 4, 64),
        Collective("reduce-scatter", 8, 64),
        Collective("collective-permute", 8, 64),
    ]
    # Twice half of 32 three times; 3/4 of 32; twice 3/4 of 64; 7/8 of 64; 64.
    assert [c.sent for c in found] == [96, 24, 96, 56, 64]
    assert collectives.sent(found) == 336
    assert collectives.by_kind(found)["all-reduce"] == {"times": 4, "size": 160, "sent": 192}


@pytest.mark.parametrize(("fsdp", "group"), [(1, 8), (4, 4)])
def test_a_real_program(fsdp, group):
    mesh = sharding.make_mesh(jax.devices()[:8], fsdp)
    axis = "fsdp" if fsdp > 1 else "data"
    split = jax.sharding.NamedSharding(mesh, P(axis))
    collect = jax.jit(lambda x: jnp.tanh(x), out_shardings=sharding.replicated(mesh))
    x = jax.ShapeDtypeStruct((64, 4), jnp.float32, sharding=split)
    text = collect.lower(x).compile().as_text()
    assert collectives.of_program(text) == [Collective("all-gather", group, 64 * 4 * 4)]
