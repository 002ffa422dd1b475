from pathlib import Path

from aiplat.inference.hardware import describe

INFO = """processor : 0
model name : Some Processor
flags : fpu avx2 fma avx512f avx512_bf16
"""


def test_a_processor_is_known_by_its_name_and_what_kernels_are_chosen_by(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(INFO)
    assert describe("cpu", file).endswith(" Some Processor (avx2 fma avx512f avx512_bf16)")
    file.write_text(INFO.replace(" avx512_bf16", ""))
    assert describe("cpu", file).endswith(" Some Processor (avx2 fma avx512f)")


def test_this_machine_says_something(tmp_path: Path) -> None:
    assert describe("cpu") == describe("cpu")
    assert "no vector instructions known" in describe("cpu", tmp_path / "none")
