"""The whole of it on a model that needs no learning: real processes, few passes."""

from pathlib import Path

import pyarrow as pa
import pytest

from aiplat.datasets.synthetic import write_version
from aiplat.datasets.versions import IMAGE_TYPE, Column, DatasetVersion
from aiplat.errors import AiplatError, DataError
from aiplat.inference.config import ParityConfig
from aiplat.inference.measuring.measure import Bench, Timing
from aiplat.inference.measuring.results import Arm, Result
from tests.exported import COLORS, color_folder
from tests.tasks.pictures import plain, saved

COLUMNS = (Column("image", "image"), Column("label", "label"))
SHADES = ((200, 20, 30), (20, 200, 30), (20, 30, 200))


def plain_colors(storage: str) -> DatasetVersion:
    """Pictures of one colour each, and which it is."""
    labels = [row % 3 for row in range(12)]
    images = [{"bytes": saved(plain(SHADES[label])), "path": ""} for label in labels]
    table = pa.table({"image": pa.array(images, IMAGE_TYPE), "label": pa.array(labels, pa.int64())})
    splits = {"train": table, "val": table, "test": table.slice(0, 0)}
    return write_version(storage, "plain", splits, COLUMNS, COLORS)


def bench_of(folder: Path, model: str = "MeanColor", split: str = "val") -> Bench:
    """A bench with the rows written."""
    made = Bench(
        model=color_folder(folder / "model", model),
        scratch=folder,
        device="cpu",
        threads=1,
        parity=ParityConfig(split=split, rows=10),
        timing=Timing(batch_sizes=(1, 24), rounds=2, round_s=0.01, timeout_s=300),
    )
    made.write_rows(plain_colors(str(folder)), ("image", "label"), 6)
    return made


def test_every_arm_is_a_row_with_its_figures_or_its_reason(tmp_path: Path) -> None:
    heard: list[str] = []
    arms = [Arm("onnxruntime", "fp32"), Arm("onnxruntime", "bf16")]

    def watch(kind: str, told: Result | int) -> None:
        heard.append(f"{kind} {told if isinstance(told, int) else told.arm.called}")

    bench = bench_of(tmp_path)
    eager, onnx, lacking = bench.measure(arms, watch)
    for result in (eager, onnx):
        assert result.reason is None
        assert result.is_in_parity
        assert [point.batch_size for point in result.points] == [1, 24]
        assert all(len(point.times_ms) >= 6 for point in result.points)
        assert result.parity is not None
        assert result.parity.metric == 1.0
    assert onnx.num_bytes > 0
    assert (bench.program(onnx.arm) / "program.json").is_file()
    assert lacking.reason == "engine onnxruntime has no bf16 on cpu (it has: fp32, int8)"
    assert lacking.points == ()
    assert heard == [
        "prepare eager fp32",
        "ready eager fp32",
        "prepare onnxruntime fp32",
        "ready onnxruntime fp32",
        "prepare onnxruntime bf16",
        "failed onnxruntime bf16",
        "round 0",
        "round 1",
    ]


def test_rows_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no split 'test'"):
        bench_of(tmp_path, split="test")


def test_the_job_fails_where_torch_itself_does(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    (bench.model / "model.safetensors").unlink()
    heard: list[str] = []
    with pytest.raises(AiplatError, match=r"eager fp32: RegistryError.*lacks model\.safetensors"):
        bench.measure([Arm("onnxruntime", "fp32")], lambda kind, told: heard.append(kind))
    # No other is prepared for minutes that has nothing to be held against.
    assert heard == ["prepare", "failed"]
