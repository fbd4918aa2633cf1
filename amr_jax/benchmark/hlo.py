"""What a compiled program launches, and the bytes that go through it, read off its HLO text.

A launch is what the device is asked to do once: a fusion, a library call, a copy, a collective.
Instructions inside a fusion are no launches; those of a loop's body are, as often as it runs.
"""

import collections
import dataclasses
import math
import re
from collections.abc import Iterator

# They move nothing: names for places, parts of tuples.
_FREE = {
    "parameter",
    "constant",
    "tuple",
    "get-tuple-element",
    "bitcast",
    "after-all",
    "add-dependency",
    "opt-barrier",
    "partition-id",
    "replica-id",
    "ConcatBitcast",  # of a TPU: a name for neighbours in memory
}
# They read of their operand no more than their result.
_TAKE_PART = {"slice", "dynamic-slice"}
# They run other computations one after the other, whose instructions count in their place.
_CALLS = {"call", "while", "conditional", "async-start"}

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.+?) ([a-z][\w\-]*)\((.*)$")
_ARRAY = re.compile(r"\b(pred|[a-z]+(\d+)\w*)\[([\d,]*)\](?:\{([^}]*)\})?")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
      name, opcode: as they stand there.
      size: bytes of the result in main memory; of a tuple, of all that is in it.
      size_anywhere: the same, with what lies in a TPU's on-chip memory.
      operands: names. attributes: the text behind them.
    """

    name: str
    opcode: str
    size: int
    size_anywhere: int
    operands: tuple[str, ...]
    attributes: str

    @property
    def kind(self) -> str:
        """The opcode; of a library call, its target."""
        target = re.search(r'custom_call_target="([^"]*)"', self.attributes)
        return target[1] if self.opcode == "custom-call" and target else self.opcode

    @property
    def op_name(self) -> str:
        """Where it comes from in the traced program, as JAX writes it; '' if it does not say."""
        found = re.search(r'op_name="([^"]*)"', self.attributes)
        return found[1] if found else ""

    @property
    def called(self) -> list[str]:
        """The computations that it runs; of a loop, the body."""
        names = re.findall(r"(?:calls|to_apply|body|_computation)=%?([\w.\-]+)", self.attributes)
        branches = re.search(r"branch_computations=\{([^}]*)\}", self.attributes)
        return names + (re.findall(r"[\w.\-]+", branches[1]) if branches else [])

    @property
    def times(self) -> int:
        """How often it runs what it calls: a loop's trip count where the compiler knows it."""
        known = re.search(r'known_trip_count":\{"n":"(\d+)"', self.attributes)
        return int(known[1]) if self.opcode == "while" and known else 1


@dataclasses.dataclass(frozen=True)
class Launch:
    """An instruction that the device is asked to run.

    Attributes:
      instruction: which.
      times: in a run of the program.
      traffic: bytes of main memory that it reads and writes: its operands and its result, each
        once; of one that does nothing but take a part of an operand, that part. (Of one that takes
        a part and does more, the operand is too much.)
    """

    instruction: Instruction
    times: int
    traffic: int


def launches(text: str) -> list[Launch]:
    """All launches of a program, in order.

    Both branches of a condition count. What a loop without a known number of rounds launches
    counts once.

    Args:
      text: of the optimised program, as `compiled.as_text()`.
    """
    computations, entry = parse(text)

    def walk(name: str, times: int) -> Iterator[Launch]:
        instructions = computations[name]
        for instruction in instructions.values():
            opcode = instruction.opcode
            if opcode in _CALLS and instruction.called:
                for called in instruction.called:
                    yield from walk(called, times * instruction.times)
            elif opcode.endswith("-done") and opcode != "async-done":
                # A transfer between two memories, of which one is the main memory; it counts where
                # it ends, for what starts it has the whole source among its results.
                yield Launch(instruction, times, instruction.size_anywhere)
            elif instruction.kind not in _FREE and not opcode.endswith(("-start", "-done")):
                read = {name for name in instruction.operands if name in instructions}
                taken = sum(instructions[name].size for name in read)
                if _only_takes_part(instruction, computations):
                    taken = min(taken, instruction.size)
                yield Launch(instruction, times, instruction.size + taken)

    return list(walk(entry, 1))


def kinds(found: list[Launch]) -> dict[str, int]:
    """How many launches of each kind, the most frequent first."""
    counts = collections.Counter()
    for launch in found:
        counts[launch.instruction.kind.removesuffix("-done")] += launch.times
    return dict(counts.most_common())


def by_part(found: list[Launch]) -> dict[str, tuple[int, int]]:
    """Launches and bytes of each part of the model, the most bytes first.

    A fusion counts where its last operation comes from.

    Returns:
      {part: (launches, bytes)}; for the parts see `part`.
    """
    sums = collections.defaultdict(lambda: [0, 0])
    for launch in found:
        entry = sums[part(launch.instruction.op_name)]
        entry[0] += launch.times
        entry[1] += launch.times * launch.traffic
    return {name: tuple(sums[name]) for name in sorted(sums, key=lambda name: -sums[name][1])}


def part(op_name: str) -> str:
    """The module that an operation belongs to, all blocks as one, forward or backward.

    `jit(dispatch)/…/transpose(jvp(AMR))/encoder/block_3/mlp/fc1/dot_general` is
    `backward encoder/block/mlp/fc1`. What is outside the method (augmentation, optimiser) is
    `outside`, what does not say where it comes from `unnamed`.
    """
    path = op_name.split("/")
    start = next((i for i, name in enumerate(path) if "jvp(" in name), None)
    if start is None:
        return "outside" if op_name else "unnamed"
    direction = "backward" if "transpose(" in path[start] else "forward"
    modules = [name for name in path[start + 1 : -1] if re.fullmatch(r"\w+", name)]
    return f"{direction} {'/'.join(re.sub(r'_[0-9]+$', '', m) for m in modules) or 'loss'}"


def _only_takes_part(instruction: Instruction, computations: dict) -> bool:
    """Whether it is a slice, or a fusion of slices and nothing else."""
    if instruction.opcode != "fusion":
        return instruction.opcode in _TAKE_PART
    inside = [i.opcode for name in instruction.called for i in computations.get(name, {}).values()]
    return _TAKE_PART.issuperset(opcode for opcode in inside if opcode not in _FREE)


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
            sizes = _size(shape, opcode, "S(1)"), _size(shape, opcode)
            current[name] = Instruction(name, opcode, *sizes, names, attributes)
    return computations, entry


def _split(text: str) -> tuple[str, str]:
    """What stands before and behind the parenthesis that closes the operands."""
    depth = 1
    for i, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return text[:i], text[i + 1 :]
    return text, ""


def _size(shape: str, opcode: str, without: str | None = None) -> int:
    """Bytes of `bf16[8,75,256]{2,1,0:S(1)}`, or of all arrays of a tuple.

    Not those that a library call gets to work in, nor those of arrays in the memory `without`:
    S(1) is a TPU's on-chip memory.
    """
    total = 0
    for name, bits, dimensions, layout in _ARRAY.findall(shape):
        sizes = [int(n) for n in dimensions.split(",") if n]
        workspace = opcode == "custom-call" and name in ("s8", "u8") and len(sizes) == 1
        if not workspace and not (without and without in layout):
            # A truth value takes a byte, and so does everything of less than eight bits.
            total += math.prod(sizes) * max(1, int(bits or 8) // 8)
    return total
