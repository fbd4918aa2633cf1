"""Accelerators that need not be there: published peaks, and what their compilers must be told.

The compilers come in wheels of their own (`pip install -e '.[aot]'`) and run on any CPU.
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
class Accelerator:
    """One kind of accelerator.

    Attributes:
      title: its name in full.
      platform: of JAX: `cuda` or `tpu`.
      flops: FLOP/s that the maker publishes for dense matrix products, by compute dtype.
      bandwidth: of its memory, bytes/s. memory_bytes: of one chip.
      chips: how they are joined, as the compiler names it; of those that `--targets` does not say.
    """

    title: str
    platform: str
    flops: Mapping[str, float]
    bandwidth: float
    memory_bytes: float
    chips: str


def _tpu(title: str, flops: float, bandwidth: float, memory_bytes: float, chips: str):
    # In float32, JAX multiplies matrices on a TPU in one pass of bfloat16 unless it is told not to.
    rates = {"bfloat16": flops, "float32": flops}
    return Accelerator(title, "tpu", rates, bandwidth, memory_bytes, chips)


ACCELERATORS = {
    # NVIDIA H200 Tensor Core GPU datasheet, SXM: 1,979 TFLOPS in BFLOAT16 and 989 in TF32 (JAX's
    # default for float32) "with sparsity", half of it dense; 141 GB at 4.8 TB/s.
    "h200": Accelerator(
        "NVIDIA H200", "cuda", {"bfloat16": 989e12, "float32": 494e12}, 4.8e12, 141e9, "1"
    ),
    # Cloud TPU documentation, "System architecture", the page of each generation: peak compute of a
    # chip in bf16, HBM capacity and bandwidth.
    "v5e": _tpu("TPU v5e", 197e12, 0.819e12, 16e9, "2x2"),
    "v5p": _tpu("TPU v5p", 459e12, 2.765e12, 95e9, "2x2x1"),
    "v6e": _tpu("TPU v6e", 918e12, 1.640e12, 32e9, "2x2"),
}

# Modules of the wheels with a platform's compiler, any of which will do.
COMPILERS = {"tpu": ("libtpu",), "cuda": ("jax_cuda13_plugin", "jax_cuda12_plugin")}

# What XLA wants to know of a GPU before it compiles for it (its GpuTargetConfigProto): compute
# capability 9.0's limits from the CUDA programming guide, the H200's size from its datasheet.
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

# Nothing can be timed without the device: cuBLAS and XLA's own kernels as they come. (XLA's Triton
# kernels for matrix products cannot be had without timing them.)
_CUDA_OPTIONS = {"xla_gpu_autotune_level": 0, "xla_gpu_enable_triton_gemm": False}

# libtpu asks its surroundings what it runs on, and minds that one process alone uses a TPU.
_TPU_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


@dataclasses.dataclass(frozen=True)
class Target:
    """Chips to compile for: `kind` of `ACCELERATORS`, and `chips` as they are joined."""

    kind: str
    chips: str

    @property
    def accelerator(self) -> Accelerator:
        """What is known of one of the chips."""
        return ACCELERATORS[self.kind]

    def __str__(self) -> str:
        return f"{self.kind}:{self.chips}"

    @property
    def kernels(self) -> tuple[str, ...]:
        """The attention kernels (`attention.KERNELS`) that it has in bfloat16."""
        return ("xla", "cudnn") if self.accelerator.platform == "cuda" else ("xla",)

    @property
    def options(self) -> dict:
        """The options of `compile` without which it would not compile here."""
        return _CUDA_OPTIONS if self.accelerator.platform == "cuda" else {}


def parse(text: str) -> Target:
    """`h200`, `v5e` or `v5e:4x4` as a target; `UserError` if there is none of that name."""
    kind, _, chips = text.partition(":")
    if kind not in ACCELERATORS or (":" in text and not re.fullmatch(r"\d+(x\d+)*", chips)):
        raise UserError(
            f"--targets: found {text!r}; expected one of {', '.join(ACCELERATORS)}, where wanted "
            "with the chips and how they are joined: v5e:4x4, h200:8."
        )
    return Target(kind, chips or ACCELERATORS[kind].chips)


def require_compiler(target: Target) -> None:
    """Raises `UserError`, saying what to install, unless the compiler's wheels are there."""
    platform = target.accelerator.platform
    if not any(map(importlib.util.find_spec, COMPILERS[platform])):
        extra = {"tpu": "tpu", "cuda": "cuda13"}[platform]
        raise UserError(
            f"--targets={target}: the compiler for {target.accelerator.title} is not installed "
            f"(no module {' or '.join(COMPILERS[platform])}). It needs no device: "
            f"pip install -e '.[{extra}]', or '.[aot]' for all targets."
        )


def devices(target: Target) -> list[jax.Device]:
    """Devices to compile for, which can hold nothing and run nothing.

    To be called once in a process that does nothing else: libtpu reads its environment once.

    Raises:
      UserError: chips that the compiler does not know in this arrangement.
    """
    try:
        if target.accelerator.platform == "cuda":
            layout = f"1x1x{target.chips}"
            return topologies.get_topology_desc(
                platform="cuda", topology=layout, target_config=_H200
            ).devices
        os.environ.update(_TPU_ENVIRONMENT)
        return topologies.get_topology_desc(platform="tpu", topology_name=str(target)).devices
    except jax.errors.JaxRuntimeError as error:
        raise UserError(f"--targets={target}: the compiler refuses it: {error}.") from error
