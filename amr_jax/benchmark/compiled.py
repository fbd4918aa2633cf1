"""Memory, launches, bytes and collectives of a compiled program.

JAX's own analysis gives the memory. The rest is read from the HLO text, alike for all targets: no
compiler for GPUs counts bytes, and a TPU's includes on-chip memory. A launch is one request to the
device: a fusion, a library call, a copy, a collective. Instructions inside a fusion are no
launches; those in the body of a loop count once per iteration if the number of iterations is known,
else once.
"""

import dataclasses
import math
import re
from collections import Counter
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
# How often an array goes round a ring: once to be summed, once to be handed out. One pass moves
# (n − 1) / n of it from each of n chips.
PASSES = {"all-reduce": 2, "all-gather": 1, "reduce-scatter": 1, "all-to-all": 1}
_HAND_OVER = "collective-permute"  # from each chip to one other

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.+?) ([a-z][\w\-]*)\((.*)$")
_ARRAY = re.compile(r"\b(pred|[a-z]+(\d+)\w*)\[([\d,]*)\](?:\{([^}]*)\})?")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
      size: bytes of the result in main memory; for a tuple, of all its parts.
      size_anywhere: the same, including a TPU's on-chip memory.
      operands: names of instructions. attributes: the text behind the operands.
    """

    name: str
    opcode: str
    size: int
    size_anywhere: int
    operands: tuple[str, ...]
    attributes: str

    @property
    def called(self) -> list[str]:
        """The computations that it runs; for a loop, the body."""
        return re.findall(r"(?:calls|to_apply|body|_computation)=%?([\w.\-]+)", self.attributes)

    @property
    def times(self) -> int:
        """Number of calls of `called`: a loop's trip count, if known; else 1."""
        known = re.search(r'known_trip_count":\{"n":"(\d+)"', self.attributes)
        return int(known[1]) if self.opcode == "while" and known else 1

    @property
    def is_free(self) -> bool:
        """Whether it moves nothing."""
        target = re.search(r'custom_call_target="([^"]*)"', self.attributes)
        return (target[1] if target else self.opcode) in _FREE

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


def uses(text: str) -> Iterator[Use]:
    """All instructions that a program runs, parts of fusions and both branches included."""
    computations, entry = parse(text)

    def walk(name: str, times: int, is_part: bool) -> Iterator[Use]:
        here = computations[name]
        for instruction in here.values():
            operands = [here[operand] for operand in instruction.operands if operand in here]
            called = [name for name in instruction.called if name in computations]
            parts = [part for other in called for part in computations[other].values()]
            yield Use(instruction, operands, parts, times, name if is_part else "")
            for other in called:
                again = times * instruction.times
                yield from walk(other, again, is_part or instruction.opcode not in _CALLS)

    return walk(entry, 1, False)


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


def launches(text: str) -> list[tuple[str, int, int]]:
    """Name, times and bytes of main memory read and written, of each launch of a program.

    Operands and result count once each. An instruction that only takes a part of an operand counts
    that part; one that also computes on it counts the whole operand, which is too much.

    Args:
      text: of the optimised program, `compiled.as_text()`.
    """
    found = []
    for use in uses(text):
        instruction, opcode = use.instruction, use.instruction.opcode
        if use.fusion or (opcode in _CALLS and use.parts):
            continue
        if opcode.endswith("-done") and opcode != "async-done":
            # A transfer between main and on-chip memory counts at its end: at its start, the whole
            # source is among the results.
            found.append((instruction.name, use.times, instruction.size_anywhere))
        elif not instruction.is_free and not opcode.endswith(("-start", "-done")):
            taken = sum(operand.size for operand in set(use.operands))
            if _only_takes_part(use):
                taken = min(taken, instruction.size)
            found.append((instruction.name, use.times, instruction.size + taken))
    return found


def collectives(text: str) -> list[Collective]:
    """All collectives of an optimised program between more than one chip.

    An asynchronous one counts at its start. On a TPU, a fusion that keeps a part of an all-reduce
    is a reduce-scatter.
    """
    partitions = re.search(r"\bnum_partitions=(\d+)", text)
    chips, found = int(partitions[1]) if partitions else 1, []
    for use in uses(text):
        kind, group = use.instruction.opcode.removesuffix("-start"), use.instruction.group(chips)
        if group > 1 and (kind in PASSES or kind == _HAND_OVER):
            size = sum(operand.size_anywhere for operand in use.operands)
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
    numbers = Counter()
    for collective in exchanged:
        numbers[collective.kind] += collective.times
    return {
        "bytes": sum(times * traffic for _, times, traffic in launched),
        "memory_bytes": costs.peak_bytes(program.memory_analysis()),
        "sent": sent(exchanged),
        "collectives": numbers,
        "launches": sum(times for _, times, _ in launched),
    }


def parse(text: str) -> tuple[dict[str, dict[str, Instruction]], str]:
    """Computations by name, each with its instructions by name; and the entry's name."""
    computations, entry, current = {}, None, None
    for line in text.splitlines():
        if head := _COMPUTATION.match(line):
            current = computations[head[2]] = {}
            entry = head[2] if head[1] else entry
        elif current is not None and (found := _INSTRUCTION.match(line)):
            name, shape, opcode, rest = found.groups()
            operands, attributes = _split(rest)
            names = tuple(re.findall(r"%([\w.\-]+)", operands))
            sizes = _size(shape, opcode, without="S(1)"), _size(shape, opcode)
            current[name] = Instruction(name, opcode, *sizes, names, attributes)
    return computations, entry


def _only_takes_part(use: Use) -> bool:
    """Whether it is a slice, or a fusion of slices alone."""
    is_fusion = use.instruction.opcode == "fusion"
    inside = use.parts if is_fusion else [use.instruction]
    return _TAKE_PART.issuperset(i.opcode for i in inside if i.opcode not in _FREE)


def _split(text: str) -> tuple[str, str]:
    """The text before and behind the parenthesis that closes the operands."""
    depth = 1
    for i, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return text[:i], text[i + 1 :]
    return text, ""


def _size(shape: str, opcode: str, without: str | None = None) -> int:
    """Bytes of `bf16[8,75,256]{2,1,0:S(1)}`, or of all arrays of a tuple.

    The workspace of a library call does not count, nor do arrays in the memory `without`: S(1) is a
    TPU's on-chip memory.
    """
    total = 0
    for name, bits, dimensions, layout in _ARRAY.findall(shape):
        sizes = [int(n) for n in dimensions.split(",") if n]
        workspace = opcode == "custom-call" and name in ("s8", "u8") and len(sizes) == 1
        if not workspace and not (without and without in layout):
            # Types of fewer than eight bits take a byte.
            total += math.prod(sizes) * max(1, int(bits or 8) // 8)
    return total
