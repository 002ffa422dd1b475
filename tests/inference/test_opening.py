"""Which engine answers, by what is wanted and what was chosen before."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from aiplat.errors import ConfigError
from aiplat.inference.engines.calls import graphs_of
from aiplat.inference.engines.engine import EngineError, Given, engine_of
from aiplat.inference.engines.program import CompiledModel, compile_program
from aiplat.inference.hardware import describe
from aiplat.inference.opening import Plan, Wanted, open_version, planned
from aiplat.inference.predictor import Predictor
from aiplat.inference.stored import Choice, Place, fetch_program, store_choice, stored_choice
from aiplat.registry.folder import ModelFolder
from aiplat.registry.versions import ModelVersion
from tests.exported import color_folder
from tests.inference.conftest import MakeImage

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

HERE = Place("ab12", "some processor", 2)
CHOICE = Choice(HERE, "openvino", "1.0", "bf16", 8, {})


@pytest.mark.parametrize(
    ("wanted", "engine", "precision", "is_stored"),
    [
        (Wanted(), "openvino", "bf16", True),
        (Wanted(precision="bf16"), "openvino", "bf16", True),
        (Wanted(precision="fp32"), "eager", "fp32", False),
        (Wanted("eager"), "eager", "fp32", False),
        (Wanted("eager", "bf16"), "eager", "bf16", False),
        (Wanted("openvino"), "openvino", "bf16", True),
        (Wanted("openvino", "fp32"), "openvino", "fp32", False),
        (Wanted("onnxruntime"), "onnxruntime", "fp32", False),
    ],
)
def test_a_choice_serves_whoever_leaves_it_open_or_wants_the_same(
    wanted: Wanted, engine: str, precision: str, is_stored: bool
) -> None:
    plan = planned(wanted, CHOICE, "")
    assert (plan.engine, plan.precision, plan.choice is not None) == (engine, precision, is_stored)


def test_without_a_choice_torch_answers_and_says_why() -> None:
    assert planned(Wanted(), None, "none was made") == Plan("eager", "fp32", None, "none was made")


@pytest.fixture
def version(tmp_path: Path) -> ModelVersion:
    folder = color_folder(tmp_path / "colors")
    return ModelVersion("colors", 1, (), str(folder), "", "", "made@up", "")


def place_of(version: ModelVersion, threads: int = 1) -> Place:
    """This machine, for this version."""
    weights = str(ModelFolder.open(Path(version.uri)).about["weights_sha256"])
    return Place(weights, describe("cpu"), threads)


def choose(version: ModelVersion, folder: Path, engine: str = "onnxruntime") -> Choice:
    """Compile the version and keep that as what was chosen."""
    predictor = Predictor.open(Path(version.uri))
    program = folder / "program"
    compile_program(engine, graphs_of(predictor.task, predictor.info), program, Given())
    place = place_of(version)
    report = folder / "report"
    report.mkdir()
    (report / "measured.json").write_text("[]")
    choice = Choice(place, engine, engine_of(engine).version(), "fp32", 4, {"p99_ms": 1.0})
    store_choice(version, choice, program, report)
    stored = stored_choice(version, place)
    assert stored is not None
    return stored


def test_a_replica_starts_from_what_was_compiled_before(
    version: ModelVersion,
    tmp_path: Path,
    image: MakeImage,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    choose(version, tmp_path)

    def refuse(*_: object) -> None:
        raise AssertionError("it was built or compiled again")

    with caplog.at_level(logging.INFO, logger="aiplat"), monkeypatch.context() as without:
        without.setattr("aiplat.inference.predictor.compile_program", refuse)
        without.setattr("aiplat.inference.predictor.build_task", refuse)
        predictor = open_version(version, Wanted())
    assert "colors:1 answers by onnxruntime in fp32" in caplog.text
    assert isinstance(predictor.task.model, CompiledModel)
    [found] = predictor([{"image": image("#a08060")}])
    [wanted] = Predictor.open(Path(version.uri))([{"image": image("#a08060")}])
    assert found["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-5)


def test_elsewhere_or_with_other_threads_torch_answers(
    version: ModelVersion, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    choose(version, tmp_path)
    with caplog.at_level(logging.INFO, logger="aiplat"):
        predictor = open_version(version, Wanted(threads=3))
    assert not isinstance(predictor.task.model, CompiledModel)
    assert "no engine was chosen" in caplog.text
    assert "with 3 threads" in caplog.text
    assert "python -m aiplat.jobs.optimize model=colors:1" in caplog.text


def test_what_another_release_compiled_is_not_used(
    version: ModelVersion, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stored = choose(version, tmp_path)
    older = replace(stored, release="0.1")
    store_choice(version, older, tmp_path / "program", tmp_path / "report")
    with caplog.at_level(logging.INFO, logger="aiplat"):
        by_auto = open_version(version, Wanted())
        named = open_version(version, Wanted("onnxruntime"))
    assert not isinstance(by_auto.task.model, CompiledModel)
    assert "was chosen with release 0.1" in caplog.text
    assert isinstance(named.task.model, CompiledModel)
    assert "onnxruntime in fp32: compiled now" in caplog.text


def test_a_damaged_program_is_told_and_not_loaded(
    version: ModelVersion, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program = fetch_program(version, choose(version, tmp_path))
    (program / "0" / "graph.onnx").write_bytes(b"something else")
    predictor = open_version(version, Wanted())
    assert not isinstance(predictor.task.model, CompiledModel)
    assert "is not what was stored: optimize colors:1 anew" in caplog.text


def test_torch_in_another_precision_may_be_what_was_chosen(
    version: ModelVersion, tmp_path: Path
) -> None:
    report = tmp_path / "report"
    report.mkdir()
    place = place_of(version)
    store_choice(version, Choice(place, "eager", "2.9", "bf16", 1, {}), None, report)
    predictor = open_version(version, Wanted())
    assert str(predictor.dtype) == "torch.bfloat16"


def test_an_engine_that_is_named_and_cannot_is_an_error(version: ModelVersion) -> None:
    with pytest.raises(EngineError, match="onnxruntime has no bf16 on cpu"):
        open_version(version, Wanted("onnxruntime", "bf16"))
    with pytest.raises(EngineError, match="int8 needs rows to calibrate with"):
        open_version(version, Wanted("onnxruntime", "int8"))
    with pytest.raises(ConfigError, match=r"inference\.precision is 'int8'"):
        open_version(version, Wanted("eager", "int8"))
