"""The state that ranks hold parts of, in safetensors files, one a rank.

Written and read by torch.distributed.checkpoint, which cuts anew for however many ranks read. Knows
nothing of checkpoint folders.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from aiplat.errors import ConfigError
from aiplat.training.averages import Averages
from aiplat.training.collective import share_buffers
from aiplat.training.sharding import is_cut

# Names in the files: model/NAME, averages/NAME, optimizer/INDEX/KIND.
_MODEL, _AVERAGES, _OPTIMIZER = "model", "averages", "optimizer"


class ShardedState:
    """A sharded model's weights, and of each what optimizer and average keep.

    Satisfies `aiplat.training.snapshot.Shards`.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, averages: Averages | None) -> None:
        self.model = model
        self.optimizer = optimizer
        self.averages = averages

    def save(self, folder: Path) -> None:
        """Write this rank's part; every rank calls it. Raises OSError where it cannot."""
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
        from torch.distributed.checkpoint.state_dict_saver import save

        share_buffers(self.model)
        writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
        with _told():
            save(self._weights() | self._kept(), storage_writer=writer)

    def load(self, folder: Path) -> None:
        """Take up what any number of ranks wrote; every rank calls it."""
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
        from torch.distributed.checkpoint.state_dict_loader import load

        state = self._weights()
        for name, entry in _described(folder).items():
            part, _, rest = name.partition("/")
            if part == _OPTIMIZER:
                index, _, kind = rest.partition("/")
                weight = self._trained()[int(index)]
                state[name] = torch.empty_like(
                    weight, dtype=entry.properties.dtype, requires_grad=False
                )
                self.optimizer.state[weight][kind] = state[name]
        with _told():
            load(state, storage_reader=HuggingFaceStorageReader(str(folder)))

    def _weights(self) -> dict[str, Any]:
        weights = {f"{_MODEL}/{name}": value for name, value in self.model.state_dict().items()}
        averaged = self.averages.by_name if self.averages else {}
        return _apart(weights | {f"{_AVERAGES}/{name}": value for name, value in averaged.items()})

    def _kept(self) -> dict[str, Any]:
        kept = {}
        for index, weight in enumerate(self._trained()):
            for kind, value in self.optimizer.state[weight].items():
                if is_cut(value):
                    self._check(kind, value, weight)
                    kept[f"{_OPTIMIZER}/{index}/{kind}"] = value
        return kept

    def _check(self, kind: str, value: Tensor, weight: Tensor) -> None:
        if value.shape != weight.shape:
            raise ConfigError(
                f"optim: {type(self.optimizer).__name__} keeps {kind!r} in the shape "
                f"{tuple(value.shape)} for a weight of {tuple(weight.shape)}, which cannot be "
                "saved in parts; choose another optimizer, or scale.strategy=ddp"
            )

    def _trained(self) -> list[Tensor]:
        return [weight for group in self.optimizer.param_groups for weight in group["params"]]


def _apart(weights: dict[str, Any]) -> dict[str, Any]:
    """Tied weights share memory, which the format refuses: the later names get copies."""
    apart, written = {}, set[int]()
    for name, value in weights.items():
        local = value.to_local() if is_cut(value) else value
        memory = local.untyped_storage().data_ptr()
        apart[name] = value.clone() if memory in written else value
        written.add(memory)
    return apart


def uncut(tree: Any) -> Any:
    """Nested dicts without what ranks have parts of."""
    if not isinstance(tree, dict):
        return tree
    return {name: uncut(value) for name, value in tree.items() if not is_cut(value)}


def whole_weights(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The whole weights in a folder of shards, and their averages, by name; needs no other rank."""
    found = _read_whole(folder, (_MODEL, _AVERAGES))
    return _of(found, _MODEL), _of(found, _AVERAGES)


def whole_state(folder: Path, state: dict[str, Any]) -> dict[str, Any]:
    """A learner's whole state, out of a folder of shards and what lay beside them."""
    found = _read_whole(folder, (_AVERAGES, _OPTIMIZER))
    optimizer = dict(state["optimizer"]["state"])
    for name, value in _of(found, _OPTIMIZER).items():
        index, _, kind = name.partition("/")
        optimizer[int(index)] = {**optimizer.get(int(index), {}), kind: value}
    state = state | {"optimizer": state["optimizer"] | {"state": optimizer}}
    if "averages" in state:
        state["averages"] = state["averages"] | {"averaged": _of(found, _AVERAGES)}
    return state


def _of(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    prefix = f"{part}/"
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _read_whole(folder: Path, parts: tuple[str, ...]) -> dict[str, Tensor]:
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    state: dict[str, Any] = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in _described(folder).items()
        if name.partition("/")[0] in parts
    }
    with warnings.catch_warnings():
        # torch wonders whether a lone process is meant, although it is told so.
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        load(state, storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=True)
    return state


def _described(folder: Path) -> dict[str, Any]:
    """What tensors the files of all ranks hold: their sizes and types."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

    return HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata


@contextmanager
def _told() -> Iterator[None]:
    """Raise what went wrong on a rank as itself, not wrapped as torch does."""
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        yield
    except CheckpointException as error:
        raise next(iter(error.failures.values()))[0] from error
