"""Where and with what a trial is trained: recorded beside it, no part of its identity.

Two processes give the same bits only where they compute with the same instructions in the same
order. That hangs on more than the chip: torch, oneDNN and MKL choose their kernels as they start,
by what the chip has and by what the environment allows, and Numba compiles for one processor. So
beside what each says of itself a small computation is recorded by the hash of its result.
"""

from __future__ import annotations

import hashlib
import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from normlab.norms.kernels import choose
from normlab.source import source_hash

_TRAINING = (
    "augment",
    "convolutions",
    "data",
    "models",
    "native",
    "norms",
    "recipe",
    "regularizers",
    "train",
)
"""The packages of normlab that decide what a training computes."""

_ONEDNN = (
    ("AVX512_CORE_AMX_FP16", {"amx_tile", "amx_int8", "amx_bf16", "amx_fp16", "avx512_fp16"}),
    ("AVX512_CORE_AMX", {"amx_tile", "amx_int8", "amx_bf16", "avx512_fp16"}),
    ("AVX512_CORE_FP16", {"avx512_fp16", "avx512_bf16", "avx512_vnni"}),
    ("AVX512_CORE_BF16", {"avx512_bf16", "avx512_vnni"}),
    ("AVX512_CORE_VNNI", {"avx512_vnni", "avx512bw"}),
    ("AVX512_CORE", {"avx512f", "avx512bw", "avx512vl", "avx512dq"}),
    ("AVX2_VNNI", {"avx_vnni", "avx2"}),
    ("AVX2", {"avx2"}),
    ("AVX", {"avx"}),
    ("SSE41", {"sse4_1"}),
)
"""oneDNN's levels from the highest, each with the flags that a chip needs for it."""

SWITCHES = (
    *("MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_DEFAULT_FPMATH_MODE"),
    "NORMLAB_LANES",
)
"""Variables that change what is computed, and that none of the libraries can be asked about."""


def provenance(device: str, threads: int | None = None) -> dict[str, object]:
    """Where and with what this process trains.

    Args:
        device: "cpu" or "cuda".
        threads: CPU threads that a trial will have; None for those that torch has now.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        return {
            "normlab": _version("normlab"),
            "code": source_hash(),
            "training_code": source_hash(*_TRAINING),
            "torch": str(torch.__version__),  # a class of torch's own, which no checkpoint may hold
            "numba": _version("numba"),
            "numpy": _version("numpy"),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "device": device,
            "chip": chip_name(device),
            "threads": torch.get_num_threads(),
            "backend": _kernels(device),
            "bits": _bits(device, torch.get_num_threads()),
        }
    finally:
        torch.set_num_threads(before)


def chip_name(device: str) -> str:
    """The name of the processor or of the GPU."""
    return torch.cuda.get_device_name(device) if device == "cuda" else _cpu_name()


def instructions() -> str:
    """The instructions of the CPU that torch's libraries use."""
    return "; ".join(filter(None, [torch.backends.cpu.get_cpu_capability(), _onednn()]))


def _kernels(device: str) -> str:
    """The norms' backend, and the instructions that it and torch's libraries use."""
    norms = choose(torch.empty(0, device=device)).NAME
    used = [instructions()]
    if norms == "cpu":
        used.append(_numba())
    used += [f"{name}={os.environ[name]}" for name in SWITCHES if os.environ.get(name)]
    return f"{norms} ({'; '.join(filter(None, used))})"


def _onednn() -> str:
    """The level of oneDNN's kernels: the chip's highest, or what the environment allows."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return ""
    flags = _cpu_flags()
    levels = [name for name, needed in _ONEDNN]
    has = next((i for i, (_, needed) in enumerate(_ONEDNN) if needed <= flags), None)
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or ""
    most = levels.index(limit.upper()) if limit.upper() in levels else 0
    if has is None:  # another kind of chip
        return f"oneDNN {limit}".strip()
    return f"oneDNN {levels[max(has, most)]}"


@cache
def _numba() -> str:
    """The processor that Numba compiles for, and a mark of the instructions it may use."""
    try:
        from numba.core.registry import cpu_target

        _, processor, features = cpu_target.target_context.codegen().magic_tuple()
    except Exception:  # noqa: BLE001, RUF100 (Numba's inside may change)
        return "Numba"
    return f"Numba {processor}/{hashlib.sha256(features.encode()).hexdigest()[:6]}"


@cache
def _bits(device: str, threads: int) -> str:
    """Hash of what a small network and its gradients come to, to the last bit.

    Args:
        device: Where it is computed.
        threads: What torch has now: a part of the key alone.
    """
    draw = torch.Generator().manual_seed(0)

    def values(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw).to(device).requires_grad_()

    images, first, second = values(8, 3, 19, 19), values(24, 3, 3, 3), values(40, 24, 3, 3)
    head, bias = values(10, 40), values(10)
    labels = torch.arange(8, device=device) % 10
    with (
        torch.enable_grad(),
        torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        ),
    ):
        hidden = F.relu(F.conv2d(images, first, padding=1))
        hidden = (hidden - hidden.mean()) / hidden.var().add(1e-5).sqrt()
        hidden = F.gelu(F.conv2d(hidden, second, stride=2))
        logits = F.linear(hidden.mean(dim=(2, 3)), head, bias)
        large = torch.tanh(images.flatten(1) @ images.flatten(1).T / 1000).exp()
        loss = F.cross_entropy(logits, labels) + large.sum().log()
        gradients = torch.autograd.grad(loss, [images, first, second, head, bias])
        # Other kernels than those of float32, and other units where a chip has them.
        narrow = F.conv2d(images.bfloat16(), first.bfloat16(), padding=1)
        narrow = narrow.flatten(1) @ narrow.flatten(1).T
    digest = hashlib.sha256()
    for tensor in (loss, logits, narrow.float(), *gradients):
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


@cache
def _cpu_info() -> dict[str, str]:
    """What Linux says of the first processor; nothing elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = [line.partition(":") for line in lines if ":" in line]
    return {name.strip(): value.strip() for name, _, value in reversed(pairs)}


def _cpu_name() -> str:
    return _cpu_info().get("model name") or platform.processor() or platform.machine()


@cache
def _cpu_flags() -> frozenset[str]:
    return frozenset(_cpu_info().get("flags", "").split())


@cache
def _version(package: str) -> str | None:
    """An installed package's version: its files are read once, and not for every trial."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
