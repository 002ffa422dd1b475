"""What to tell someone who has just deployed an endpoint: where it is and how to ask it."""

import json
import shlex
from collections.abc import Sequence
from typing import Any

from aiplat.serving.requests import FORM, JSON
from aiplat.serving.schemas import example_row
from aiplat.serving.served import ModelInfo

_IMAGE_FILE = "photo.jpg"


def guide(url: str, dashboard_url: str, models: Sequence[ModelInfo]) -> str:
    """The addresses of the endpoint, and commands for a shell that ask each model."""
    lines = [f"endpoint   {url}", f"try it     {url}/docs"]
    if dashboard_url:
        lines.append(f"dashboard  {dashboard_url}/#/serve")
    for model in models:
        lines += ["", f"{model.name} version {model.version}, trained on {model.dataset}:"]
        lines += commands(url, model).values()
    return "\n".join(lines) + "\n"


def commands(url: str, model: ModelInfo) -> dict[str, str]:
    """Content type -> a command. The JSON one works as it is, the form needs an image at hand."""
    address = shlex.quote(f"{url}/v1/models/{model.name}:predict")
    row = example_row(model.inputs)
    body = json.dumps({"inputs": [row]}, ensure_ascii=False)
    by_json = f"curl {address} -H {shlex.quote(f'Content-Type: {JSON}')} -d {shlex.quote(body)}"
    parts = [_part(field.name, field.kind, row[field.name]) for field in model.inputs]
    return {JSON: by_json, FORM: " ".join([f"curl {address}", *parts])}


def _part(name: str, kind: str, value: Any) -> str:
    if kind == "image":
        return f"-F {shlex.quote(f'{name}=@{_IMAGE_FILE}')}"
    # Not -F: that would read a value that begins with @ or < from a file.
    return f"--form-string {shlex.quote(f'{name}={value}')}"
