"""What the chips send each other in a compiled program, read off its HLO text."""

import dataclasses
import math
import re
from collections.abc import Iterator, Sequence

from amr_jax.benchmark import hlo

# Times that an array goes round a ring: to be summed, and to be handed out. (Once round is
# (n − 1) / n of it from each of n chips.)
PASSES = {"all-reduce": 2, "all-gather": 1, "reduce-scatter": 1, "all-to-all": 1}
_HAND_OVER = "collective-permute"  # from each chip to one other


@dataclasses.dataclass(frozen=True)
class Collective:
    """An operation that several chips do together.

    Attributes:
      kind: of `PASSES`, or collective-permute.
      group: chips that take part in one; all others do the same in groups of their own.
      size: bytes of the whole array: as each chip has it before an all-reduce or reduce-scatter,
        and after an all-gather.
      times: in a run of the program.
    """

    kind: str
    group: int
    size: float
    times: int = 1

    @property
    def sent(self) -> float:
        """Bytes that each chip sends in a run, if the array goes round a ring."""
        if self.kind == _HAND_OVER:
            return self.times * self.size
        return self.times * PASSES[self.kind] * (self.group - 1) / self.group * self.size


def of_program(text: str) -> list[Collective]:
    """All collectives of a program, in order; those of a loop's body as often as it runs.

    An asynchronous one counts where it starts. A TPU's all-reduce of which only a part is kept, in
    one fusion, is a reduce-scatter. What a loop without a known number of rounds does counts once.

    Args:
      text: of the optimised program, as `compiled.as_text()`.
    """
    computations, entry = hlo.parse(text)
    partitions = re.search(r"\bnum_partitions=(\d+)", text)
    chips = int(partitions[1]) if partitions else 1

    def walk(name: str, times: int) -> Iterator[Collective]:
        instructions = computations[name]
        scatters = "all-reduce-scatter" in name
        for instruction in instructions.values():
            kind = instruction.opcode.removesuffix("-start")
            if kind in PASSES or kind == _HAND_OVER:
                brought = sum(
                    instructions[n].size_anywhere for n in instruction.operands if n in instructions
                )
                group = _group(instruction.attributes, chips)
                if kind == "all-reduce" and scatters:
                    kind = "reduce-scatter"
                size = brought * group if kind == "all-gather" else brought
                if group > 1:
                    yield Collective(kind, group, size, times)
            else:
                for called in instruction.called:
                    if called in computations:
                        yield from walk(called, times * instruction.times)

    return list(walk(entry, 1))


def sent(found: Sequence[Collective]) -> float:
    """Bytes that each chip sends in a run."""
    return math.fsum(c.sent for c in found)


def by_kind(found: Sequence[Collective]) -> dict[str, dict[str, float]]:
    """{kind: {"times", "size", "sent"}}, each summed, for tables and JSON."""
    sums = {}
    for c in found:
        entry = sums.setdefault(c.kind, {"times": 0, "size": 0.0, "sent": 0.0})
        entry["times"] += c.times
        entry["size"] += c.times * c.size
        entry["sent"] += c.sent
    return sums


def _group(attributes: str, chips: int) -> int:
    """Chips in a group, by `replica_groups` in any of its three forms; without: all."""
    if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", attributes):  # {{0,1},{2,3}}
        return listed[1].count(",") + 1
    if shape := re.search(r"replica_groups=\[\d+,(\d+)\]<=", attributes):  # [2,2]<=[4]
        return int(shape[1])
    # mesh['a'=2,'b'=4] {'b'}, or a part of an axis: {'b':(1)2}
    if mesh := re.search(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}", attributes):
        sides = {name: int(side) for name, side in re.findall(r"'(\w+)'=(\d+)", mesh[1])}
        axes = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", mesh[2])
        return math.prod(int(part) if part else sides[name] for name, part in axes)
    return chips
