"""The app of tests/serving, for a client to ask."""

from collections.abc import Callable

import pytest
from fastapi import FastAPI

from aiplat.serving.app import create_app
from aiplat.serving.config import ServingConfig
from tests.serving.conftest import LocalModel, make_model, png

__all__ = ["make_model", "png"]


@pytest.fixture
def app(make_model: Callable[..., LocalModel]) -> FastAPI:
    return create_app({"reds": make_model()}, ServingConfig())
