"""The compiler's flags for tests: they compile much and run little."""

from importlib import metadata


def quick(devices: int) -> str:
    """XLA_FLAGS for that many simulated devices, where optimising what is compiled is time lost."""
    flags = [
        f"--xla_force_host_platform_device_count={devices}",
        "--xla_backend_optimization_level=0",
    ]
    # Less than half the time; later versions do not know the flag, and end the process over it.
    if metadata.version("jaxlib").startswith("0.10."):
        flags.append("--xla_cpu_use_fusion_emitters=false")
    return " ".join(flags)
