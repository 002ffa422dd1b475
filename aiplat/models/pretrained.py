"""Where pretrained transformers come from: a local folder, a folder inside a package, or a hub id.

What besides weights is needed to build the model again (its architecture and its tokenizer) is
copied into the run's assets, so a model version never looks for the folder or the hub.
"""

import importlib.util
import json
from pathlib import Path
from typing import Any

from torch import nn

from aiplat.errors import ConfigError
from aiplat.models.tokenizer import TOKENIZER, save_tokenizer
from aiplat.store import files

ARCHITECTURE = "architecture.json"
_PACKAGE = "package:"
# Weights as tensors only, and the small files that say how to read them.
_PATTERNS = ("*.json", "*.txt", "*.model", "*.safetensors")
_HUB_TIMEOUT_S = 5


def pretrained_folder(name: str) -> Path:
    """The local folder `name` stands for: `folder/path`, `package:name/folder` or a hub id."""
    if name.startswith(_PACKAGE):
        return _package_folder(name)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if name.startswith(("/", ".", "~")) or name.count("/") > 1:
        raise ConfigError(f"model.pretrained: there is no folder {name}")
    return _hub_folder(name)


def architecture(name: str, assets: Path, model_type: str | None = None) -> Any:
    """The transformers configuration of the pretrained model, read from the assets if kept there.

    model_type: the only one that will do, as config.json names it.
    """
    from transformers import AutoConfig

    kept = assets / ARCHITECTURE
    if kept.is_file():
        return AutoConfig.for_model(**json.loads(kept.read_text()))
    folder = pretrained_folder(name)
    try:
        config = AutoConfig.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"model.pretrained: {folder} holds no model transformers knows ({error}); "
            "expected a folder with config.json, model.safetensors and a tokenizer"
        ) from error
    if model_type not in (None, config.model_type):
        raise ConfigError(
            f"model.pretrained: {name} is a model of type {config.model_type!r}, not "
            f"{model_type!r}: choose another, or the model that takes this type"
        )
    files.write_json(str(kept), config.to_dict())
    return config


def load_pretrained(model_type: Any, name: str, config: Any) -> nn.Module:
    """The model of `name` with its weights. model_type: a transformers class to load it as."""
    from transformers.utils import logging

    folder = pretrained_folder(name)
    # Its progress bar would be torn apart by the other ranks' and by the training display.
    logging.disable_progress_bar()
    try:
        model: nn.Module = model_type.from_pretrained(folder, config=config, use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"model.pretrained: the weights in {folder} cannot be loaded ({error}); expected "
            "model.safetensors of the architecture in config.json"
        ) from error
    return model


def keep_tokenizer(name: str, assets: Path) -> None:
    """Save the pretrained model's tokenizer to the assets, unless one is there."""
    if (assets / TOKENIZER).is_file():
        return
    from transformers import AutoTokenizer

    folder = pretrained_folder(name)
    try:
        loaded = AutoTokenizer.from_pretrained(folder)
        tokenizer = loaded.backend_tokenizer
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"model.pretrained: {folder} holds no tokenizer ({error}); expected tokenizer.json "
            "or a vocabulary that transformers can read"
        ) from error
    tokenizer.no_truncation()
    save_tokenizer(tokenizer, assets, loaded.pad_token_id, loaded.pad_token)


def _package_folder(name: str) -> Path:
    package, _, inner = name.removeprefix(_PACKAGE).partition("/")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            f"model.pretrained: package {package!r} of {name!r} is not installed: install it "
            "(the demo models come with the extra aiplat[demo]), or give a local folder"
        )
    folder = Path(spec.submodule_search_locations[0], inner)
    if not folder.is_dir():
        raise ConfigError(
            f"model.pretrained: package {package!r} has no folder {inner!r} ({name!r})"
        )
    return folder


def _hub_folder(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        found = snapshot_download(name, allow_patterns=list(_PATTERNS), etag_timeout=_HUB_TIMEOUT_S)
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise ConfigError(
            f"model.pretrained: {name!r} is no folder here, and the hub did not give it as a "
            f"model id ({type(error).__name__}); check the id and the connection, or point "
            "model.pretrained to a local folder that holds config.json, model.safetensors and "
            "the tokenizer"
        ) from error
    return Path(found)
