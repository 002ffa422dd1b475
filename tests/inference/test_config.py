from typing import Any

import pytest

from aiplat.errors import ConfigError
from aiplat.inference.config import InferenceConfig


@pytest.mark.parametrize(
    ("key", "value"),
    [("precision", "fp8"), ("engine", "openvno"), ("batch_size", 0), ("threads", 0)],
)
def test_a_value_that_cannot_be_is_refused_by_its_name(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{key} is {value!r}"):
        InferenceConfig(**{key: value})
