"""Memory, launches, bytes and collectives of a compiled program.

JAX's own analysis gives the memory. The rest is read from the HLO text, alike for all targets: no
compiler for GPUs counts bytes, and a TPU's includes on-chip memory. A launch is one request to the
device: a fusion, a library call, a copy, a collective. Instructions inside a fusion are no
launches; those in the body of a loop count once per iteration if the number of iterations is known,
else once.
"""

import collections
import dataclasses
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from jax.stages import Compiled

from amr_jax.studies import costs

# Instructions that move nothing: names for places, parts of tuples.
_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"}
_FREE |= {"add-dependency", "opt-barrier", "partition-id", "replica-id"}
_FREE |= {"ConcatBitcast"}  # on a TPU, a name for neighbours in memory
# Instructions that read no more of their operand than their result.
_TAKE_PART = {"slice", "dynamic-slice"}
# Instructions that run other computations, whose instructions count instead.
_CALLS = {"call", "while", "conditional", "async-start"}
# Passes of an array around a ring: one to sum it, one to distribute it. In one pass each of n chips
# sends (n − 1) / n of the array.
PASSES = {"all-reduce": 2, "all-gather": 1, "reduce-scatter": 1, "all-to-all": 1}
_HAND_OVER = "collective-permute"  # from each chip to one other

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.+?) ([a-z][\w\-]*)\((.*)$")
_ARRAY = re.compile(r"\b(pred|[a-z]+(\d+)\w*)\[([\d,]*)\](?:\{([^}]*)\})?")
_CALLED = re.compile(r"(?:calls|to_apply|body|_computation)=%?([\w.\-]+)")
_END_OF_OPERANDS = re.compile(r"\)(?:, (?=[\w\-]+=)|$)")


class Instruction(NamedTuple):
    """One line of a computation: `%NAME = SHAPE OPCODE(OPERANDS), ATTRIBUTES`."""

    name: str
    shape: str
    opcode: str
    operands: tuple[str, ...]
    attributes: str

    def size(self, on_chip: bool = False) -> int:
        """Bytes of the result in main memory, or with those in a TPU's on-chip memory, S(1).

        The workspace of a library call does not count.
        """
        total = 0
        for name, bits, dimensions, layout in _ARRAY.findall(self.shape):
            sizes = [int(n) for n in dimensions.split(",") if n]
            workspace = self.opcode == "custom-call" and name in ("s8", "u8") and len(sizes) == 1
            if not workspace and (on_chip or "S(1)" not in layout):
                # Types of fewer than eight bits take a byte.
                total += math.prod(sizes) * max(1, int(bits or 8) // 8)
        return total

    def is_free(self) -> bool:
        """Whether it moves nothing."""
        target = re.search(r'custom_call_target="([^"]*)"', self.attributes)
        return (target[1] if target else self.opcode) in _FREE

    def trips(self) -> int:
        """Number of iterations of a loop, if known; else 1."""
        known = re.search(r'known_trip_count":\{"n":"(\d+)"', self.attributes)
        return int(known[1]) if self.opcode == "while" and known else 1

    def group(self, chips: int) -> int:
        """Chips in a group of a collective, by `replica_groups` in any of its forms; else all."""
        text = self.attributes
        if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", text):  # {{0,1},{2,3}}
            return listed[1].count(",") + 1
        if shape := re.search(r"replica_groups=\[\d+,(\d+)\]<=", text):  # [2,2]<=[4]
            return int(shape[1])
        # mesh['a'=2,'b'=4] {'b'}, or a part of an axis: {'b':(1)2}
        if mesh := re.search(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}", text):
            sides = {name: int(side) for name, side in re.findall(r"'(\w+)'=(\d+)", mesh[1])}
            axes = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", mesh[2])
            return math.prod(int(part) if part else sides[name] for name, part in axes)
        return chips


class Use(NamedTuple):
    """An instruction of a program, with where and how often it runs.

    Attributes:
      operands: the instructions whose results it reads.
      parts: the instructions of the computations that it calls.
      times: number of times per run of the program.
      fusion: name of the computation, if the instruction is a part of another one; else ''.
    """

    instruction: Instruction
    operands: list[Instruction]
    parts: list[Instruction]
    times: int
    fusion: str


@dataclasses.dataclass(frozen=True)
class Collective:
    """An operation that several chips do together.

    Attributes:
      kind: of `PASSES`, or collective-permute.
      group: chips that take part.
      size: bytes of the whole array: on each chip before an all-reduce or reduce-scatter, and after
        an all-gather.
      times: number of times per run of the program.
    """

    kind: str
    group: int
    size: float
    times: int = 1

    @property
    def sent(self) -> float:
        """Bytes that each chip sends per run, around a ring."""
        if self.kind == _HAND_OVER:
            return self.times * self.size
        return self.times * PASSES[self.kind] * (self.group - 1) / self.group * self.size


def uses(text: str) -> Iterator[Use]:
    """All instructions that a program runs, parts of fusions included.

    Args:
      text: of the optimised program, `compiled.as_text()`.
    """
    computations, entry, here = {}, "", {}
    for line in text.splitlines():
        if head := _COMPUTATION.match(line):
            here = computations[head[2]] = {}
            entry = head[2] if head[1] else entry
        elif found := _INSTRUCTION.match(line):
            name, shape, opcode, rest = found.groups()
            operands, *attributes = _END_OF_OPERANDS.split(rest, maxsplit=1)
            names = tuple(re.findall(r"%([\w.\-]+)", operands))
            here[name] = Instruction(name, shape, opcode, names, "".join(attributes))

    def walk(name: str, times: int, is_part: bool) -> Iterator[Use]:
        here = computations[name]
        for instruction in here.values():
            operands = [here[operand] for operand in instruction.operands if operand in here]
            called = [n for n in _CALLED.findall(instruction.attributes) if n in computations]
            parts = [part for other in called for part in computations[other].values()]
            yield Use(instruction, operands, parts, times, name if is_part else "")
            for other in called:
                again = times * instruction.trips()
                yield from walk(other, again, is_part or instruction.opcode not in _CALLS)

    return walk(entry, 1, False)


def launches(text: str) -> list[tuple[str, int, int]]:
    """Name, times and bytes of main memory read and written, of each launch of a program.

    Operands and result count once each. A slice, and a fusion of slices alone, reads no more than
    it writes; another fusion with a slice counts the whole operand, which is too much.
    """
    found = []
    for use in uses(text):
        instruction, opcode = use.instruction, use.instruction.opcode
        if use.fusion or (opcode in _CALLS and use.parts):
            continue
        if opcode.endswith("-done") and opcode != "async-done":
            # A transfer between main and on-chip memory counts at its end: at its start, the whole
            # source is among the results.
            found.append((instruction.name, use.times, instruction.size(on_chip=True)))
        elif not instruction.is_free() and not opcode.endswith(("-start", "-done")):
            read = sum(operand.size() for operand in set(use.operands))
            inside = use.parts if opcode == "fusion" else [instruction]
            if all(part.opcode in _TAKE_PART | _FREE for part in inside):
                read = min(read, instruction.size())
            found.append((instruction.name, use.times, instruction.size() + read))
    return found


def collectives(text: str) -> list[Collective]:
    """All collectives of a program between more than one chip.

    An asynchronous one counts at its start. On a TPU, a fusion that keeps a part of an all-reduce
    is a reduce-scatter.
    """
    partitions = re.search(r"\bnum_partitions=(\d+)", text)
    chips, found = int(partitions[1]) if partitions else 1, []
    for use in uses(text):
        kind, group = use.instruction.opcode.removesuffix("-start"), use.instruction.group(chips)
        if group > 1 and (kind in PASSES or kind == _HAND_OVER):
            size = sum(operand.size(on_chip=True) for operand in use.operands)
            if kind == "all-gather":
                size *= group
            elif kind == "all-reduce" and "all-reduce-scatter" in use.fusion:
                kind = "reduce-scatter"
            found.append(Collective(kind, group, size, use.times))
    return found


def sent(found: Iterable[Collective]) -> float:
    """Bytes that each chip sends per run."""
    return math.fsum(c.sent for c in found)


def summary(program: Compiled) -> dict[str, Any]:
    """What a compiled program moves, holds and exchanges, for JSON; figures are per chip."""
    text = program.as_text()
    launched, exchanged = launches(text), collectives(text)
    numbers = collections.Counter()
    for collective in exchanged:
        numbers[collective.kind] += collective.times
    return {
        "bytes": sum(times * traffic for _, times, traffic in launched),
        "memory_bytes": costs.peak_bytes(program.memory_analysis()),
        "sent": sent(exchanged),
        "collectives": numbers,
        "launches": sum(times for _, times, _ in launched),
    }
