"""What a run will take, told before it is spent: memory when its program is compiled, then time."""

import time

import jax
from jax.stages import Compiled

from amr_jax.config import sizes
from amr_jax.run import machine

# Above this part of the memory, a run is likely to fail: libraries and checkpoints need some, too.
_FULL = 0.9
# Parameters per training sequence above which a model is called large for its data: a choice. The
# papers' model on NTU RGB+D 60 has 250, the small one on UTD-MHAD alone 1,700 (docs/real_sets.md).
_MANY = 10_000


def size(name: str | None, sequences: int) -> str:
    """Why a model has its size, for the banner; '' where the data set or the recipe has its own."""
    if not name:
        return ""
    others = " or ".join(f",{other}" for other in sizes.SIZES if other != name)
    return f"{name}, for {sequences:,} training sequences ({others} after the data set: another)"


def large_for_data(params: dict, sequences: int) -> str:
    """A warning if there are many parameters for the data; '' if not."""
    count = sum(x.size for x in jax.tree.leaves(params))
    if count <= _MANY * sequences:
        return ""
    return (
        f"warning: {count:,} parameters for {sequences:,} sequences: large for these data. A "
        "smaller model trains faster and is likely as good: ,small after the data set, or "
        "config.encoder.width."
    )


def memory(program: Compiled) -> str:
    """The memory that a run needs, by its compiled program, and a warning if there is less.

    On accelerators it is the memory of one device, of its limit; on the CPU that of this process.
    The program's arguments are the state and, if resident, the data.
    """
    found = program.memory_analysis()
    if found is None:  # a backend without this analysis
        return ""
    working = found.temp_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes
    device = jax.local_devices()[0]
    limit = (device.memory_stats() or {}).get("bytes_limit")
    if limit:
        needed = working + found.argument_size_in_bytes + found.generated_code_size_in_bytes
        where = f"of a {device.device_kind}"
    else:
        # Data, state and this program are in memory already; the rest comes with the first step.
        devices = sum(x.process_index == device.process_index for x in jax.devices())
        needed, (limit, _) = machine.of_process() + devices * working, machine.memory()
        where = "of this machine"
    text = f"memory about {machine.gigabytes(needed)}"
    if not limit:
        return text
    text += f" of {machine.gigabytes(limit)} {where}"
    if needed <= _FULL * limit:
        return text
    return (
        f"{text}\nwarning: this is likely to be too much. Less memory takes: a smaller "
        "config.batch_size, config.optim.accumulate (parts of a batch), config.input.mode=stream "
        "(data not resident), a smaller encoder."
    )


def time_left(steps: int, step_s: float, per_dispatch: int) -> str:
    """'about 12 min for 4,480 steps, done at 15:04 (6.2 steps/s, 10 steps per dispatch)'."""
    left = steps * step_s
    end = time.localtime(time.time() + left)
    today = end.tm_yday == time.localtime().tm_yday and left < 86400
    when = time.strftime("%H:%M" if today else "%a %d %b %H:%M", end)
    return (
        f"about {rounded(left)} for {steps:,} steps, done at {when} ({1 / step_s:,.3g} steps/s, "
        f"{per_dispatch} per dispatch)"
    )


def rounded(seconds: float) -> str:
    """A duration in one unit: '40 s', '12 min', '3.5 h', '2.4 days'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
