"""Data that comes with optional Python packages."""

import importlib
from typing import Any

from aiplat.errors import DataError


def package(name: str) -> Any:
    """Import the package; DataError names the extra that brings it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise DataError(
            f"this source needs the package {name}, which is not installed:"
            " pip install 'aiplat[demo]'"
        ) from error
