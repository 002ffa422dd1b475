"""Every engine that is installed against torch: batches of any size, texts of any length."""

import importlib.util
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aiplat.errors import RegistryError
from aiplat.inference.engines.engine import EngineError, Given
from aiplat.inference.engines.graph import Graph
from aiplat.inference.engines.program import PROGRAM, CompiledModel, compile_program
from aiplat.tasks.build import BuildSource, task_around
from tests.inference.engines.tiny import KINDS, Tiny
from tests.tasks.sets import part

# They tell of their own deprecations, which nobody here can mend.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

TOLERANCES = {"fp32": 1e-5, "bf16": 0.03, "int8": 0.1}
EVERY = [
    *[(kind, engine, "fp32") for kind in sorted(KINDS) for engine in ("openvino", "onnxruntime")],
    ("fusion", "openvino", "bf16"),
    ("fusion", "openvino", "int8"),
    ("text", "onnxruntime", "int8"),
    ("table", "tvm", "fp32"),
    ("table", "iree", "fp32"),
]


class Named(nn.Module):
    """Returns what no task takes."""

    def forward(self, numbers: Tensor) -> dict[str, Tensor]:
        return {"scores": numbers}


class Counting(nn.Module):
    """What it does follows from the numbers it is given."""

    def forward(self, numbers: Tensor) -> Tensor:
        return numbers if numbers.sum() > 0 else -numbers


class Measured(nn.Module):
    """Says of itself what a task may want to know."""

    kind = "measured"

    def __init__(self) -> None:
        super().__init__()
        self.width = 3
        self.halves = torch.ones(2)

    @property
    def doubled(self) -> int:
        return 2 * self.width

    def forward(self, numbers: Tensor) -> Tensor:
        return numbers * self.halves.sum()


def compiled(
    tiny: Tiny, engine: str, precision: str, folder: Path, threads: int = 1
) -> CompiledModel:
    """The tiny task's model computed by an engine, whose library must be installed."""
    library = {"compile": "torch"}.get(engine, engine)
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    given = Given(precision, "cpu", threads)
    target = folder / f"{engine}-{precision}"
    compile_program(engine, tiny.graphs(), target, given)
    return CompiledModel(target, given)


def difference(tiny: Tiny, model: CompiledModel, **batch: Any) -> float:
    """How far the engine's probabilities are from torch's."""
    rows = tiny.batch(**batch)
    tiny.task.model = tiny.model
    wanted = tiny.probabilities(rows)
    tiny.task.model = model
    found = tiny.probabilities(rows)
    assert found.shape == wanted.shape
    return float((found - wanted).abs().max())


@pytest.mark.parametrize(("kind", "engine", "precision"), EVERY)
def test_an_engine_answers_as_torch_does(
    tmp_path: Path, kind: str, engine: str, precision: str
) -> None:
    tiny = Tiny(kind, tmp_path)
    model = compiled(tiny, engine, precision, tmp_path)
    found = [difference(tiny, model, num_rows=count) for count in (1, 2, 9)]
    if kind in ("text", "fusion"):
        texts = ("a", "is it a red circle or a square?", "long " * 40)
        found += [difference(tiny, model, num_rows=2, text=text) for text in texts]
    # Cosines of a random pair of towers are scored by up to 100.
    assert max(found) < TOLERANCES[precision] * (3 if kind == "pair" else 1)
    tiny.task.model = model
    metrics = tiny.task.metrics()
    tiny.task.measure(tiny.batch(5), metrics)
    assert 0 <= float(metrics.compute()["accuracy"]) <= 1


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_rows_that_are_spread_over_threads_come_back_in_their_order(
    tmp_path: Path, kind: str
) -> None:
    tiny = Tiny(kind, tmp_path)
    model = compiled(tiny, "openvino", "fp32", tmp_path, threads=3)
    # Fewer than threads, as many, and such as cannot be spread evenly.
    assert max(difference(tiny, model, num_rows=count) for count in (1, 3, 4, 11)) < 3e-5


@pytest.fixture(scope="module")
def by_inductor(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tiny, Path]:
    """A model and its program, which takes long to compile."""
    folder = tmp_path_factory.mktemp("inductor")
    tiny = Tiny("table", folder)
    compiled(tiny, "compile", "bf16", folder)
    return tiny, folder / "compile-bf16"


def test_inductor_answers_as_torch_does_but_for_what_bf16_rounds(
    by_inductor: tuple[Tiny, Path],
) -> None:
    tiny, program = by_inductor
    model = CompiledModel(program, Given("bf16"))
    found = [difference(tiny, model, num_rows=count) for count in (1, 2, 9)]
    assert 1e-6 < max(found) < TOLERANCES["bf16"]


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torch unpacks what is packed."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def test_inductor_unpacks_a_program_once_and_not_where_it_is_read(
    by_inductor: tuple[Tiny, Path], scratch: Path
) -> None:
    tiny, program = by_inductor
    model = CompiledModel(program, Given("bf16"))
    assert difference(tiny, model, num_rows=3) < TOLERANCES["bf16"]
    assert list(scratch.iterdir()) == []


def test_a_program_of_inductor_that_was_left_packed_answers_as_well(
    by_inductor: tuple[Tiny, Path], tmp_path: Path, scratch: Path
) -> None:
    tiny, made = by_inductor
    program = shutil.copytree(made, tmp_path / "older")
    graph = program / "0" / "graph"
    with zipfile.ZipFile(program / "0" / "graph.pt2", "w") as packed:
        for file in filter(Path.is_file, graph.rglob("*")):
            packed.write(file, file.relative_to(graph.parent))
    shutil.rmtree(graph)
    model = CompiledModel(program, Given("bf16"))
    assert difference(tiny, model, num_rows=3) < TOLERANCES["bf16"]
    assert len(list(scratch.iterdir())) == 1


def test_a_program_is_read_again_where_it_was_copied_to(tmp_path: Path) -> None:
    tiny = Tiny("table", tmp_path)
    compiled(tiny, "onnxruntime", "fp32", tmp_path)
    (tmp_path / "onnxruntime-fp32").rename(tmp_path / "elsewhere")
    model = CompiledModel(tmp_path / "elsewhere", Given())
    assert difference(tiny, model, num_rows=4) < 1e-5


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_task_is_built_around_a_program_as_around_its_model(tmp_path: Path, kind: str) -> None:
    tiny = Tiny(kind, tmp_path)
    program = compiled(tiny, "onnxruntime", "fp32", tmp_path)
    source = BuildSource(tiny.info, tmp_path / kind)
    around = task_around(program, KINDS[kind][2], source)
    batch = around.encode(part(tiny.rows, range(5)))
    own = tiny.batch(5)
    assert all(torch.equal(batch[name], own[name]) for name in own)
    for found, wanted in zip(around.predict(batch), tiny.task.predict(own), strict=True):
        assert found.keys() == wanted.keys()
        assert found["label"] == wanted["label"]
    assert around.inputs == tiny.task.inputs


def test_a_program_knows_the_plain_properties_of_its_model(tmp_path: Path) -> None:
    example = (torch.ones(2, 3),), (torch.ones(5, 3),)
    graph = Graph(Measured(), ("numbers",), [*example])
    compile_program("onnxruntime", [graph], tmp_path / "program", Given())
    model = CompiledModel(tmp_path / "program", Given())
    assert {name: getattr(model, name) for name in ("kind", "width", "doubled")} == {
        "kind": "measured",
        "width": 3,
        "doubled": 6,
    }
    assert not hasattr(model, "halves")


def test_a_folder_that_holds_no_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=f"lacks {PROGRAM}"):
        CompiledModel(tmp_path, Given())


def test_a_program_of_before_its_model_was_described_is_to_be_made_anew(tmp_path: Path) -> None:
    (tmp_path / PROGRAM).write_text('{"engine": "onnxruntime", "graphs": []}')
    with pytest.raises(RegistryError, match="by an older aiplat: optimize anew"):
        CompiledModel(tmp_path, Given())


def test_a_precision_that_an_engine_lacks_is_said(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"onnxruntime has no bf16 on cpu \(it has: fp32, int8\)"):
        compile_program("onnxruntime", [], tmp_path, Given("bf16"))
    with pytest.raises(EngineError, match=r"openvino has no fp32 on cuda \(it has: nothing there"):
        compile_program("openvino", [], tmp_path, Given("fp32", "cuda"))


def test_eight_bits_without_rows_to_calibrate_with_are_refused(tmp_path: Path) -> None:
    tiny = Tiny("table", tmp_path)
    for graph in tiny.graphs():
        bare = type(graph)(graph.model, graph.names, graph.examples)
        for engine in ("openvino", "onnxruntime"):
            with pytest.raises(EngineError, match="int8 needs rows to calibrate with"):
                compile_program(engine, [bare], tmp_path / engine, Given("int8"))


def test_a_model_called_in_another_way_than_it_was_compiled_for_says_so(tmp_path: Path) -> None:
    tiny = Tiny("table", tmp_path)
    model = compiled(tiny, "onnxruntime", "fp32", tmp_path)
    numbers = torch.zeros(2, 2)
    with pytest.raises(EngineError, match=r"was compiled to be called with \(numbers, missing"):
        model(numbers, None, None)


def test_a_model_that_cannot_be_compiled_is_the_engines_error(tmp_path: Path) -> None:
    examples = [(torch.ones(3, 2),), (torch.ones(7, 2),)]
    for model, said in ((Named(), "returns dict"), (Counting(), "cannot compile the model")):
        with pytest.raises(EngineError, match=said):
            compile_program(
                "onnxruntime",
                [Graph(model, ("numbers",), examples)],
                tmp_path / type(model).__name__,
                Given(),
            )
