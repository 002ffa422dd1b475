"""The whole job on a model that needs no learning; each arm takes the seconds of a process."""

import json
from pathlib import Path

import pytest

from aiplat.config.command import status
from aiplat.inference.engines.program import CompiledModel
from aiplat.inference.measuring.measure import Bench
from aiplat.inference.measuring.results import Arm, Parity, Point, Result
from aiplat.inference.opening import Wanted, open_version
from aiplat.jobs.optimize import main
from aiplat.jobs.schema import OptimizeConfig
from aiplat.registry.mlflow import Registry
from tests.exported import color_folder
from tests.inference.measuring.test_measure import plain_colors
from tests.stores import storage_with_database

QUICK = ["batch_sizes=[1,2]", "rounds=1", "round_s=0.01", "parity.rows=8", "calibration_rows=4"]


@pytest.fixture
def storage(tmp_path: Path) -> str:
    root = storage_with_database(tmp_path / "storage")
    dataset = plain_colors(root)
    folder = color_folder(tmp_path / "colors", dataset=dataset.id)
    Registry(root).register(str(folder), "colors", "champion")
    return root


def test_the_choice_is_shown_kept_and_answers_from_then_on(
    storage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["model=colors", "engines=[onnxruntime,tensorrt]", "precisions=[fp32]", *QUICK]
    assert status(main, "optimize", OptimizeConfig, [f"storage={storage}", *arguments]) == 0
    said = capsys.readouterr().out
    assert "tensorrt fp32: engine tensorrt has no fp32 on cpu" in said
    assert "chosen: " in said
    assert "python -m aiplat.jobs.serve models=[colors:1] serve.replica.num_cpus=1" in said
    version = Registry(storage).resolve("colors")
    [place] = Path(version.uri).parent.glob("engines/*")
    measured = json.loads((place / "measured.json").read_text())
    assert [row["engine"] for row in measured] == ["eager", "onnxruntime", "tensorrt"]
    assert (place / "measured.png").is_file()
    choice = json.loads((place / "choice.json").read_text())
    model = open_version(version, Wanted(device="cpu")).task.model
    assert isinstance(model, CompiledModel) == (choice["engine"] == "onnxruntime")


def test_where_none_is_quick_enough_nothing_is_kept(
    storage: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    points = tuple(Point(batch_size, (2.0, 3.0)) for batch_size in (1, 2))
    slow = Result(Arm("eager", "fp32"), parity=Parity(0.0, 1.0, 1.0, ()), points=points)
    monkeypatch.setattr(Bench, "measure", lambda _bench, _arms, _watch: [slow])
    arguments = ["model=colors", "engines=[eager]", "precisions=[fp32]", *QUICK]
    slo = "slo.p99_ms=0.000001"
    assert status(main, "optimize", OptimizeConfig, [f"storage={storage}", *arguments, slo]) == 2
    said = capsys.readouterr().err
    assert "no engine in parity answers within slo.p99_ms=1e-06: the nearest is eager fp32" in said
    assert list(Path(Registry(storage).resolve("colors").uri).parent.glob("engines")) == []
    assert list(Path(storage).glob("optimizations/colors-1/measured.png")) != []


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("engines=[openvno]", "engines is ['openvno'], expected some of eager, compile"),
        ("engines=[auto]", "engines is ['auto']"),
        ("precisions=[fp8]", "precisions is ['fp8'], expected some of fp32"),
        ("batch_sizes=[0]", "batch_sizes is [0]"),
        ("threads=0", "threads is 0, expected at least 1"),
        ("timeout_s=0", "timeout_s is 0"),
        ("slo.p99_ms=-1", "slo.p99_ms is -1"),
        ("parity.rows=0", "parity.rows is 0"),
    ],
)
def test_what_cannot_be_measured_is_said_first(
    capsys: pytest.CaptureFixture[str], override: str, said: str
) -> None:
    assert status(main, "optimize", OptimizeConfig, ["model=colors", override]) == 2
    assert said in capsys.readouterr().err
