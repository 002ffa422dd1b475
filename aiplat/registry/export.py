"""Write what a run made as a model version folder: wholly, or not at all."""

import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import Tensor

from aiplat.config.secrets import without_secrets
from aiplat.errors import RegistryError
from aiplat.registry.card import ModelFacts, card
from aiplat.registry.confusion import draw_confusion
from aiplat.registry.folder import (
    ASSETS,
    CARD,
    CONFIG,
    CONFUSION,
    DATASET,
    FORMAT,
    METRICS,
    VERSION,
    WEIGHTS,
)
from aiplat.store import files
from aiplat.store.environment import commit, environment


def export_model(
    target: str, weights: Mapping[str, Tensor] | Path, assets: str, facts: ModelFacts
) -> str:
    """Write the model version folder `target` (a path or URI), which replaces an earlier one there.

    weights: the model's state, or the safetensors file (or the folder with it) that holds it.
    assets: the folder of what else the model needs; it need not exist.
    """
    files.remove_folder(target)
    with files.draft_folder(target, VERSION) as draft:
        if files.is_remote(draft):
            with tempfile.TemporaryDirectory() as local:
                about = _write(Path(local), weights, assets, facts)
                files.copy_folder(local, draft)
        else:
            about = _write(Path(draft), weights, assets, facts)
        # Last, because its presence says that the folder is complete.
        files.write_json(files.join(draft, VERSION), about)
    return target


def _write(
    folder: Path, weights: Mapping[str, Tensor] | Path, assets: str, facts: ModelFacts
) -> dict[str, Any]:
    _write_weights(folder / WEIGHTS, weights)
    if files.exists(assets):
        files.copy_folder(assets, str(folder / ASSETS))
    config = OmegaConf.create(without_secrets(facts.config))
    files.write_bytes(str(folder / CONFIG), OmegaConf.to_yaml(config).encode())
    files.write_json(str(folder / DATASET), {**facts.info.to_json(), "id": facts.dataset})
    files.write_json(str(folder / METRICS), facts.metrics)
    about = _about(folder / WEIGHTS, facts)
    title = f"{facts.name} on {facts.confusion_split} of {facts.dataset}"
    pictured = facts.confusion is not None and draw_confusion(
        facts.confusion, title, folder / CONFUSION
    )
    files.write_bytes(str(folder / CARD), card(facts, about, pictured).encode())
    return about


def _write_weights(target: Path, weights: Mapping[str, Tensor] | Path) -> None:
    if isinstance(weights, Path):
        source = weights / WEIGHTS if weights.is_dir() else weights
        if not source.is_file():
            raise RegistryError(f"there are no weights at {source}: train the run to a checkpoint")
        shutil.copyfile(source, target)
        return
    # Copies: tensors that share memory (tied weights, slices) are refused otherwise.
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
    save_file(tensors, target, metadata={"format": "pt"})


def _about(weights: Path, facts: ModelFacts) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "name": facts.name,
        "run": facts.run,
        "dataset": facts.dataset,
        "primary": facts.primary,
        "commit": commit(),
        "environment": environment(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "weights_sha256": files.file_hash(weights),
    }
