"""What computes here, described so that what was compiled or measured on it is known again."""

import platform
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")
# What kernels are chosen by; the rest of what a processor can do is of no matter to them.
_INSTRUCTIONS = (
    "avx2",
    "fma",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
    "asimddp",
    "bf16",
    "i8mm",
    "sve",
)


def describe(device: str, cpu_info: Path = _CPU_INFO) -> str:
    """The processor and its instructions, or the GPU. device: `cpu`, `cuda` or `cuda:1`."""
    if device.startswith("cuda"):
        import torch

        properties = torch.cuda.get_device_properties(device)
        return f"{properties.name}, compute capability {properties.major}.{properties.minor}"
    text = cpu_info.read_text() if cpu_info.is_file() else ""
    fields = {
        name.strip(): value.strip()
        for name, found, value in (line.partition(":") for line in text.splitlines())
        if found
    }
    name = fields.get("model name") or platform.processor() or "unknown processor"
    has = set(fields.get("flags", fields.get("Features", "")).split())
    instructions = " ".join(item for item in _INSTRUCTIONS if item in has)
    return f"{platform.machine()} {name} ({instructions or 'no vector instructions known'})"
