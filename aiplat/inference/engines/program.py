"""A task's model compiled by an engine: a folder of files, and the module that computes by them."""

from collections.abc import Iterator, Sequence
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from aiplat.errors import RegistryError
from aiplat.inference.engines.calls import given_tensors
from aiplat.inference.engines.engine import EngineError, Given, Run, check_precision, engine_of
from aiplat.inference.engines.graph import Graph
from aiplat.store import files

PROGRAM = "program.json"


def compile_program(engine: str, graphs: Sequence[Graph], target: Path, given: Given) -> None:
    """Compile each graph into a folder below `target`. Raises EngineError where it cannot."""
    check_precision(engine, given)
    told = []
    for index, graph in enumerate(graphs):
        folder = target / str(index)
        folder.mkdir(parents=True)
        told.append(_compiled(engine, graph, folder, given))
    about = {"engine": engine, "model": _described(graphs[0].model), "graphs": told}
    # Last, because its presence says that the folder is complete.
    files.write_json(str(target / PROGRAM), about)


def read_program(folder: Path) -> dict[str, Any]:
    """What a program says of itself. Raises RegistryError where it is none that can be opened."""
    if not (folder / PROGRAM).is_file():
        raise RegistryError(f"{folder} is no compiled model: it lacks {PROGRAM}")
    told = dict(files.read_json(str(folder / PROGRAM)))
    if "model" not in told:
        raise RegistryError(f"{folder} was compiled by an older aiplat: optimize anew")
    return told


def _described(model: nn.Module) -> dict[str, Any]:
    """What a task may ask of its model besides calling it, and how it is called."""
    return {
        "name": type(model).__name__,
        "arguments": list(signature(model.forward).parameters),
        "facts": dict(_facts(model)),
    }


def _facts(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Its public attributes and properties that are plain values, such as the size of images."""
    for name in sorted({*dir(model)} - {*dir(nn.Module())}):
        value = None if name.startswith("_") else getattr(model, name)
        if isinstance(value, bool | int | float | str):
            yield name, value


def _compiled(engine: str, graph: Graph, folder: Path, given: Given) -> dict[str, Any]:
    """Compile one graph; returns how it is called."""
    try:
        called = {"names": graph.names, "outputs": graph.outputs, "is_tuple": graph.is_tuple}
        engine_of(engine).compile(graph, folder, given)
        return called
    except EngineError:
        raise
    except Exception as error:
        # Compilers raise dozens of kinds, and whichever it is: this engine is not for this model.
        raise EngineError(
            f"{engine} cannot compile the model ({type(error).__name__}: {error}): use another "
            "engine, or eager"
        ) from error


class CompiledModel(nn.Module):
    """Takes a model's place: the same arguments, the same outputs, computed by an engine.

    It has the model's plain attributes too, so that a task can be built around it without the
    model's own code. folder: the program's. Raises RegistryError where it is none.
    """

    def __init__(self, folder: Path, given: Given) -> None:
        super().__init__()
        told = read_program(folder)
        model, engine = told["model"], engine_of(told["engine"])
        for name, value in model["facts"].items():
            setattr(self, name, value)
        self._of = model["name"]
        self._signature = Signature(
            [
                Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=None)
                for name in model["arguments"]
            ]
        )
        self._parts = {
            tuple(part["names"]): _Part(
                engine.load(folder / str(index), given), part["outputs"], part["is_tuple"]
            )
            for index, part in enumerate(told["graphs"])
        }

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the model would return, its outputs in fp32."""
        given = given_tensors(self._signature, args, kwargs)
        part = self._parts.get(tuple(given))
        if part is None:
            known = "; ".join(", ".join(names) for names in self._parts)
            raise EngineError(
                f"{self._of} was compiled to be called with ({known}), not with "
                f"({', '.join(given)}): use engine=eager"
            )
        return part([tensor.contiguous() for tensor in given.values()])


class _Part:
    """One graph, its outputs put together as the model would."""

    def __init__(self, run: Run, outputs: Sequence[bool], is_tuple: bool) -> None:
        self.run = run
        self.outputs = outputs
        self.is_tuple = is_tuple

    def __call__(self, tensors: Sequence[Tensor]) -> Any:
        computed = iter(self.run(tensors))
        outputs = tuple(_full(next(computed)) if is_there else None for is_there in self.outputs)
        return outputs if self.is_tuple else outputs[0]


def _full(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor
