"""Accelerators: published peak rates, and how to compile for them without having one.

Compilers come in wheels of their own (`pip install -e '.[aot]'`) and run on any CPU.
"""

import dataclasses
import importlib.util
import os
import re

import jax
from jax.experimental import topologies

from amr_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Links:
    """The links between chips of one kind.

    Attributes:
      bandwidth: bytes/s that a chip sends over all its links together, one way.
      axes: axes of the torus that the links form; 0: a switch, one hop between any two chips.
      wraps: from this side on, an axis of the torus is closed to a ring; 0 for a switch.
      domain: largest number of chips that the links join.
      network: bytes/s that a chip sends beyond its domain, one way; 0: unknown.
      start_s: seconds before a collective sends anything.
      hop_s, network_hop_s: seconds of a hop to the next chip, and over the network.
    """

    bandwidth: float
    axes: int
    wraps: int
    domain: int
    # Times of a torus: "How to Scale Your Model" (Google DeepMind), chapter "Sharded matrices": a
    # hop takes about 1 us; a gathering of 3 hops was measured at 8 us, of which 5 are its start.
    network: float = 0.0
    start_s: float = 5e-6
    hop_s: float = 1e-6
    network_hop_s: float = 0.0


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """One kind of accelerator.

    Attributes:
      title: full name.
      platform: JAX's name: `cuda` or `tpu`.
      flops: published FLOP/s of dense matrix products in bfloat16.
      bandwidth: bytes/s of its memory. memory_bytes: memory of one chip.
      chips: default arrangement, in the compiler's notation.
    """

    title: str
    platform: str
    flops: float
    bandwidth: float
    memory_bytes: float
    chips: str
    links: Links


ACCELERATORS = {
    # NVIDIA H200 Tensor Core GPU datasheet, SXM: 1,979 TFLOPS in BFLOAT16 "with sparsity", half of
    # it dense; 141 GB at 4.8 TB/s; NVLink 900 GB/s, both ways together. NVIDIA DGX H200 datasheet:
    # 8 GPUs and as many ConnectX-7 adapters of 400 Gb/s. Times: NCCL's source, src/graph/tuning.cc,
    # for a tree with the protocol LL128.
    "h200": Accelerator(
        *("NVIDIA H200", "cuda", 989e12, 4.8e12, 141e9, "1"),
        Links(450e9, 0, 0, 8, network=50e9, start_s=14e-6, hop_s=1.2e-6, network_hop_s=8.5e-6),
    ),
    # Cloud TPU documentation, "System architecture", the page of each generation: peak compute of a
    # chip in bf16, HBM capacity and bandwidth; bidirectional ICI bandwidth of a chip (400, 1,200
    # and 800 GB/s), half of it one way; torus and chips of the largest slice. The side from which
    # an axis is a ring: "How to Scale Your Model", chapter "TPUs".
    "v5e": Accelerator(
        *("TPU v5e", "tpu", 197e12, 0.819e12, 16e9, "2x2"), Links(200e9, 2, 16, 256)
    ),
    "v5p": Accelerator(
        *("TPU v5p", "tpu", 459e12, 2.765e12, 95e9, "2x2x1"), Links(600e9, 3, 4, 6144)
    ),
    "v6e": Accelerator(
        *("TPU v6e", "tpu", 918e12, 1.640e12, 32e9, "2x2"), Links(400e9, 2, 16, 256)
    ),
}

# Modules of the wheels with a platform's compiler; one of them is enough.
COMPILERS = {"tpu": ("libtpu",), "cuda": ("jax_cuda13_plugin", "jax_cuda12_plugin")}

# XLA's description of a GPU to compile for (GpuTargetConfigProto): limits of compute capability 9.0
# from the CUDA programming guide, sizes from the H200's datasheet.
_H200 = """
gpu_device_info {
  cuda_compute_capability { major: 9 minor: 0 }
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
  threads_per_warp: 32 threads_per_block_limit: 1024 threads_per_core_limit: 2048
  registers_per_block_limit: 65536 registers_per_core_limit: 65536
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472 l2_cache_size: 52428800
  memory_bandwidth: 4800000000000 device_memory_size: 150754820096
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 }
runtime_version { major: 12 minor: 8 }
device_description_str: "NVIDIA H200"
"""

# libtpu reads from its environment what it runs on, and that other processes may also load it.
_TPU_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


def parse(text: str) -> tuple[str, str]:
    """The kind and the arrangement of chips that `h200`, `v5e` or `v5e:4x4` names."""
    kind, colon, chips = text.strip().partition(":")
    if kind not in ACCELERATORS or (colon and not re.fullmatch(r"\d+(x\d+)*", chips)):
        raise UserError(
            f"--targets: found {text!r}; expected one of {', '.join(ACCELERATORS)}, optionally "
            "with an arrangement of chips: v5e:4x4, h200:8."
        )
    return kind, chips or ACCELERATORS[kind].chips


def require_compiler(kind: str) -> None:
    """Raises `UserError` with what to install, unless the compiler for this kind is there."""
    chip = ACCELERATORS[kind]
    if not any(map(importlib.util.find_spec, COMPILERS[chip.platform])):
        extra = {"tpu": "tpu", "cuda": "cuda13"}[chip.platform]
        raise UserError(
            f"--targets={kind}: the compiler for {chip.title} is not installed (no module "
            f"{' or '.join(COMPILERS[chip.platform])}). It needs no device: "
            f"pip install -e '.[{extra}]', or '.[aot]' for all targets."
        )


def devices(kind: str, chips: str) -> list[jax.Device]:
    """Devices to compile for, which hold no arrays and run no programs.

    Call it once, in a process that does nothing else: libtpu reads its environment once.

    Raises:
      UserError: the compiler does not know this arrangement of chips.
    """
    platform = ACCELERATORS[kind].platform
    if platform == "cuda":
        layout = {"topology": f"1x1x{chips}", "target_config": _H200}
    else:
        os.environ.update(_TPU_ENVIRONMENT)
        layout = {"topology_name": f"{kind}:{chips}"}
        if set(chips) <= set("1x"):  # hosts hold four chips each, except for a slice of one
            layout["chips_per_host_bounds"] = (1, 1, 1)
    try:
        return topologies.get_topology_desc(platform=platform, **layout).devices
    except jax.errors.JaxRuntimeError as error:
        raise UserError(f"--targets={kind}:{chips}: the compiler refuses it: {error}.") from error
