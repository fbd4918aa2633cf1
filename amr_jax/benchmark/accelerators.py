"""Accelerators: published peak rates, and how to compile for them without having one.

Compilers come in wheels of their own (`pip install -e '.[aot]'`) and run on any CPU.
"""

import dataclasses
import importlib.util
import os
import re
from collections.abc import Mapping

import jax
from jax.experimental import topologies

from amr_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Interconnect:
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
    network: float
    start_s: float
    hop_s: float
    network_hop_s: float


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """One kind of accelerator.

    Attributes:
      title: full name.
      platform: JAX's name: `cuda` or `tpu`.
      flops: published FLOP/s of dense matrix products, by compute dtype.
      bandwidth: bytes/s of its memory. memory_bytes: memory of one chip.
      chips: default arrangement, in the compiler's notation.
      interconnect: the links between chips.
    """

    title: str
    platform: str
    flops: Mapping[str, float]
    bandwidth: float
    memory_bytes: float
    chips: str
    interconnect: Interconnect


def _tpu(
    title: str, flops: float, bandwidth: float, memory_bytes: float, chips: str, links: Interconnect
) -> Accelerator:
    # In float32, JAX multiplies matrices on a TPU in one pass of bfloat16 by default.
    rates = {"bfloat16": flops, "float32": flops}
    return Accelerator(title, "tpu", rates, bandwidth, memory_bytes, chips, links)


def _torus(bandwidth: float, axes: int, wraps: int, domain: int) -> Interconnect:
    # Times: "How to Scale Your Model" (Google DeepMind), chapter "Sharded matrices": a hop takes
    # about 1 us; a gathering of 3 hops was measured at 8 us, of which 5 are its start.
    return Interconnect(bandwidth, axes, wraps, domain, 0.0, 5e-6, 1e-6, 0.0)


ACCELERATORS = {
    # NVIDIA H200 Tensor Core GPU datasheet, SXM: 1,979 TFLOPS in BFLOAT16 and 989 in TF32 (JAX's
    # default for float32) "with sparsity", half of it dense; 141 GB at 4.8 TB/s.
    "h200": Accelerator(
        "NVIDIA H200",
        "cuda",
        {"bfloat16": 989e12, "float32": 494e12},
        4.8e12,
        141e9,
        "1",
        # The same datasheet: NVLink 900 GB/s, both ways together. NVIDIA DGX H200 datasheet: 8 GPUs
        # and as many ConnectX-7 adapters of 400 Gb/s. Times: NCCL's source, src/graph/tuning.cc,
        # for a tree with the protocol LL128.
        Interconnect(450e9, 0, 0, 8, 50e9, 14e-6, 1.2e-6, 8.5e-6),
    ),
    # Cloud TPU documentation, "System architecture", the page of each generation: peak compute of a
    # chip in bf16, HBM capacity and bandwidth; bidirectional ICI bandwidth of a chip (400, 1,200
    # and 800 GB/s), half of it one way; torus and chips of the largest slice. The side from which
    # an axis is a ring: "How to Scale Your Model", chapter "TPUs".
    "v5e": _tpu("TPU v5e", 197e12, 0.819e12, 16e9, "2x2", _torus(200e9, 2, 16, 256)),
    "v5p": _tpu("TPU v5p", 459e12, 2.765e12, 95e9, "2x2x1", _torus(600e9, 3, 4, 6144)),
    "v6e": _tpu("TPU v6e", 918e12, 1.640e12, 32e9, "2x2", _torus(400e9, 2, 16, 256)),
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

# Without the device nothing can be timed: no autotuning, and no Triton kernels for matrix products,
# which XLA chooses by timing alone.
_CUDA_OPTIONS = {"xla_gpu_autotune_level": 0, "xla_gpu_enable_triton_gemm": False}

# libtpu reads from its environment what it runs on, and that other processes may load it, too.
_TPU_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


@dataclasses.dataclass(frozen=True)
class Target:
    """Chips to compile for: `kind` of `ACCELERATORS`, and their arrangement `chips`."""

    kind: str
    chips: str

    @property
    def accelerator(self) -> Accelerator:
        """The kind of chip."""
        return ACCELERATORS[self.kind]

    def __str__(self) -> str:
        return f"{self.kind}:{self.chips}"

    @property
    def kernels(self) -> tuple[str, ...]:
        """The attention kernels (`config.base.KERNELS`) that it has in bfloat16."""
        return ("xla", "cudnn") if self.accelerator.platform == "cuda" else ("xla",)

    def options(self, effort: float) -> dict:
        """Options of `compile`; `effort` of a TPU's compiler from -1 (least) to 1, default 0."""
        if self.accelerator.platform == "cuda":
            return _CUDA_OPTIONS
        return {"exec_time_optimization_effort": effort}


def parse(text: str) -> Target:
    """The target that `h200`, `v5e` or `v5e:4x4` names; `UserError` if there is none."""
    kind, _, chips = text.partition(":")
    if kind not in ACCELERATORS or (":" in text and not re.fullmatch(r"\d+(x\d+)*", chips)):
        raise UserError(
            f"--targets: found {text!r}; expected one of {', '.join(ACCELERATORS)}, optionally "
            "with an arrangement of chips: v5e:4x4, h200:8."
        )
    return Target(kind, chips or ACCELERATORS[kind].chips)


def require_compiler(target: Target) -> None:
    """Raises `UserError` with what to install, unless the target's compiler is there."""
    platform = target.accelerator.platform
    if not any(map(importlib.util.find_spec, COMPILERS[platform])):
        extra = {"tpu": "tpu", "cuda": "cuda13"}[platform]
        raise UserError(
            f"--targets={target}: the compiler for {target.accelerator.title} is not installed "
            f"(no module {' or '.join(COMPILERS[platform])}). It needs no device: "
            f"pip install -e '.[{extra}]', or '.[aot]' for all targets."
        )


def devices(target: Target) -> list[jax.Device]:
    """Devices to compile for, which hold no arrays and run no programs.

    Call it once, in a process that does nothing else: libtpu reads its environment once.

    Raises:
      UserError: the compiler does not know this arrangement of chips.
    """
    try:
        if target.accelerator.platform == "cuda":
            layout = f"1x1x{target.chips}"
            return topologies.get_topology_desc(
                platform="cuda", topology=layout, target_config=_H200
            ).devices
        os.environ.update(_TPU_ENVIRONMENT)
        # Hosts hold four chips each, except for a slice of one.
        alone = {"chips_per_host_bounds": (1, 1, 1)} if set(target.chips) <= set("1x") else {}
        return topologies.get_topology_desc(
            platform="tpu", topology_name=str(target), **alone
        ).devices
    except jax.errors.JaxRuntimeError as error:
        raise UserError(f"--targets={target}: the compiler refuses it: {error}.") from error
