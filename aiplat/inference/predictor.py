"""A model version made callable: request rows in, JSON-ready answers out.

It knows no HTTP and no cluster. `encode` may run in several threads at once; `predict` is for one
thread at a time.
"""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from aiplat.datasets.versions import DatasetInfo
from aiplat.errors import ConfigError, DataError, RegistryError
from aiplat.inference.engines.calls import graphs_of
from aiplat.inference.engines.engine import Given
from aiplat.inference.engines.program import CompiledModel, compile_program
from aiplat.registry.folder import ModelFolder
from aiplat.tasks.build import BuildSource, build_task, task_around
from aiplat.tasks.fields import InputField, OutputField
from aiplat.tasks.task import Batch, Rows, Task

_EAGER = "eager"
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_MAX_NAMED = 5


class RowError(DataError):
    """One row of a request cannot be answered; `field` is None where no single one is to blame."""

    def __init__(self, row: int, field: str | None, detail: str) -> None:
        self.row = row
        self.field = field
        self.detail = detail
        place = f"row {row}, field {field!r}" if field else f"row {row}"
        super().__init__(f"{place}: {detail}")


class Predictor:
    """Answers rows with a task's model, which it holds on one device.

    info: of the dataset version the model was trained on. precision: of torch's own arithmetic.
    """

    def __init__(
        self, task: Task, info: DatasetInfo, device: str = "auto", precision: str = "fp32"
    ) -> None:
        if precision not in _DTYPES:
            choices = ", ".join(_DTYPES)
            raise ConfigError(
                f"inference.precision is {precision!r}, expected one of {choices}, or what another "
                "inference.engine has"
            )
        self.task = task
        self.info = info
        self.device = choose_device(device)
        self.dtype = _DTYPES[precision]
        task.model.to(self.device).eval().requires_grad_(False)

    @classmethod
    def open(
        cls,
        folder: Path,
        device: str = "auto",
        precision: str = "fp32",
        engine: str = _EAGER,
        threads: int = 1,
        program: Path | None = None,
    ) -> "Predictor":
        """Load the model version of `folder`.

        engine: what computes the model: torch as it is (`eager`), or another with so many threads,
        by its program, which is compiled where it is None. Raises RegistryError where the parts do
        not fit, EngineError where the engine cannot compute the model.
        """
        version = ModelFolder.open(folder)
        source = BuildSource(
            info=version.info, assets=version.assets, load_weights=False, texts=None
        )
        given = Given(precision, choose_device(device).type, threads)
        if program is not None:
            # The model itself is not built: its code and weights may take longer than all else.
            task = task_around(CompiledModel(program, given), version.config["task"], source)
            return cls(task, version.info, device)
        task = build_task(version.config["model"], version.config["task"], source)
        _load_weights(task.model, version.weights)
        predictor = cls(task, version.info, device, precision if engine == _EAGER else "fp32")
        if engine != _EAGER:
            predictor.compile(engine, given)
        return predictor

    def compile(self, engine: str, given: Given) -> None:
        """Have an engine compute the model. Raises EngineError where it cannot."""
        with tempfile.TemporaryDirectory() as scratch:
            made = Path(scratch, "program")
            graphs = graphs_of(self.task, self.info, device=str(self.device))
            compile_program(engine, graphs, made, given)
            self.compute_by(made, given)

    def compute_by(self, program: Path, given: Given) -> None:
        """Have an engine compute the model by a program that it was compiled to."""
        self.task.model = CompiledModel(program, given)

    @property
    def task_inputs(self) -> tuple[InputField, ...]:
        """What a request row may hold."""
        return self.task.inputs

    @property
    def task_outputs(self) -> tuple[OutputField, ...]:
        """What an answer holds."""
        return self.task.outputs

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """One answer a row. Raises RowError for a row that does not fit the inputs."""
        return self.predict(self.encode(rows)) if rows else []

    def encode(self, rows: Sequence[Mapping[str, Any]]) -> Batch:
        """Check the rows against the inputs and make tensors of them, on the CPU.

        A field of a row that is left out or None is missing. Raises RowError.
        """
        columns = _columns(rows, self.task.inputs)
        try:
            return self.task.encode(columns)
        except DataError:
            _raise_for_row(self.task, columns, len(rows))
            raise

    def predict(self, batch: Batch) -> list[dict[str, Any]]:
        """One answer for each encoded row."""
        return self.run(self.task.predict, batch)

    def run(self, step: Callable[[Batch], Any], batch: Batch) -> Any:
        """Apply `step` to the batch on the model's device, without gradients, in its precision."""
        moved: dict[str, Tensor] = {key: value.to(self.device) for key, value in batch.items()}
        reduced = self.dtype != torch.float32
        with (
            torch.inference_mode(),
            torch.autocast(
                self.device.type, dtype=self.dtype if reduced else None, enabled=reduced
            ),
        ):
            return step(moved)


def choose_device(device: str) -> torch.device:
    """The device by its name; `auto` is the GPU where there is one. Raises ConfigError."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"inference.device is {device!r}, expected auto, cpu or cuda") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"inference.device is {device!r}, but there is no GPU here: set it to auto"
        )
    return chosen


def _load_weights(model: nn.Module, path: Path) -> None:
    weights, expected = load_file(path), model.state_dict()
    faults = [
        _named("missing", expected.keys() - weights.keys()),
        _named("unexpected", weights.keys() - expected.keys()),
        _named(
            "of another shape",
            {
                key
                for key in weights.keys() & expected.keys()
                if weights[key].shape != expected[key].shape
            },
        ),
    ]
    if any(faults):
        raise RegistryError(
            f"{path} does not fit the model of its configuration, weights are "
            f"{'; '.join(filter(None, faults))}. The model's code has changed since: use the "
            "commit that version.json names, or train it anew"
        )
    model.load_state_dict(weights)


def _named(what: str, keys: set[str]) -> str:
    if not keys:
        return ""
    listed = ", ".join(sorted(keys)[:_MAX_NAMED])
    rest = f" and {len(keys) - _MAX_NAMED} more" if len(keys) > _MAX_NAMED else ""
    return f"{what}: {listed}{rest}"


def _columns(rows: Sequence[Mapping[str, Any]], inputs: Sequence[InputField]) -> Rows:
    names = [item.name for item in inputs]
    for index, row in enumerate(rows):
        for key in row:
            if key not in names:
                raise RowError(
                    index, str(key), f"there is no such field (there are: {', '.join(names)})"
                )
    return {
        item.name: [_checked(index, item, row.get(item.name)) for index, row in enumerate(rows)]
        for item in inputs
    }


def _checked(row: int, item: InputField, value: Any) -> Any:
    if value is None:
        if item.required:
            raise RowError(row, item.name, f"it is required ({item.kind}), but missing")
        return None
    expected, fits = _KINDS[item.kind]
    if not fits(value):
        raise RowError(row, item.name, f"expected {expected}, got {_shown(value)}")
    return value


def _is_number(value: Any) -> bool:
    is_plain = isinstance(value, int | float) and not isinstance(value, bool)
    # Not a number is how a missing one is written in tables.
    return is_plain and not math.isinf(value)


# Kind of a field -> what a person calls its values, and whether a value is one.
_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "image": ("the bytes of an image file", lambda value: isinstance(value, bytes)),
    "text": ("a text", lambda value: isinstance(value, str)),
    "number": ("a finite number", _is_number),
    "category": ("a text", lambda value: isinstance(value, str)),
}


def _shown(value: Any) -> str:
    text = f"{len(value)} bytes" if isinstance(value, bytes) else repr(value)
    return f"{text if len(text) <= 40 else text[:37] + '...'} ({type(value).__name__})"


def _raise_for_row(task: Task, columns: Rows, num_rows: int) -> None:
    """Find the row to blame where a task could not encode them together."""
    for index in range(num_rows):
        try:
            task.encode({name: values[index : index + 1] for name, values in columns.items()})
        except DataError as error:
            fields = [name for name in columns if f"'{name}'" in str(error)]
            raise RowError(index, fields[0] if len(fields) == 1 else None, str(error)) from error
