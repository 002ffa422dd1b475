"""The folder of a model version: all that is needed to answer with it, and what is known of it."""

import json
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from aiplat.datasets.versions import DatasetInfo
from aiplat.errors import RegistryError
from aiplat.store import files

WEIGHTS = "model.safetensors"
CONFIG = "config.yaml"
DATASET = "dataset.json"
METRICS = "metrics.json"
VERSION = "version.json"
ASSETS = "assets"
CARD = "card.md"
CONFUSION = "confusion.png"
FORMAT = 1

_REQUIRED = (WEIGHTS, CONFIG, DATASET, METRICS)


@dataclass(frozen=True)
class ModelFolder:
    """A complete model version folder on this machine; its parts are read when asked for."""

    path: Path

    @classmethod
    def open(cls, path: Path) -> "ModelFolder":
        """Check that the folder is one. Raises RegistryError naming what is missing."""
        missing = [name for name in (*_REQUIRED, VERSION) if not (path / name).is_file()]
        if missing:
            raise RegistryError(f"{path} is no model version: it lacks {', '.join(missing)}")
        folder = cls(path)
        if folder.about["format"] != FORMAT:
            raise RegistryError(
                f"{path} has model version format {folder.about['format']}, this aiplat reads "
                f"{FORMAT}: export the run anew"
            )
        return folder

    @property
    def weights(self) -> Path:
        """The weights, as safetensors."""
        return self.path / WEIGHTS

    @property
    def assets(self) -> Path:
        """What else belongs to the model: a tokenizer, the settings of an architecture."""
        return self.path / ASSETS

    @cached_property
    def about(self) -> dict[str, Any]:
        """Name, run, dataset id, commit, environment, time of making, hash of the weights."""
        return dict(files.read_json(str(self.path / VERSION)))

    @cached_property
    def config(self) -> dict[str, Any]:
        """The whole composed configuration of the run that made it."""
        tree = OmegaConf.to_container(OmegaConf.load(self.path / CONFIG))
        if not isinstance(tree, dict):
            raise RegistryError(f"{self.path / CONFIG} holds no configuration: export the run anew")
        return {str(key): value for key, value in tree.items()}

    @cached_property
    def preprocessing_sha256(self) -> str:
        """Hash of all that decides which tensors a row becomes: task, labels, tokenizer."""
        assets = files.folder_hashes(str(self.assets)) if self.assets.is_dir() else {}
        decisive = [self.config["task"], files.read_json(str(self.path / DATASET)), assets]
        return sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()

    @cached_property
    def info(self) -> DatasetInfo:
        """What the model knows of the dataset it was trained on."""
        return DatasetInfo.from_json(files.read_json(str(self.path / DATASET)))

    @property
    def dataset(self) -> str:
        """The id of the dataset version it was trained on."""
        return str(self.about["dataset"])

    @cached_property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Split -> metric -> value."""
        return dict(files.read_json(str(self.path / METRICS)))
