"""What to tell someone who has just deployed an endpoint: where it is and how to ask it."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiplat.serving.requests import FORM, JSON
from aiplat.serving.schemas import example_row
from aiplat.serving.served import ModelInfo

_IMAGE_FILE = "photo.jpg"
# Where a shell has the key that only its owner knows.
_KEY_VARIABLE = "AIPLAT_KEY"


@dataclass(frozen=True)
class Credential:
    """The API key that commands send. text: the key; None: one that the reader has."""

    text: str | None = None

    @property
    def option(self) -> str:
        """The option of curl that sends it."""
        if self.text is None:
            return f'-H "Authorization: Bearer ${_KEY_VARIABLE}"'
        return f"-H {shlex.quote(f'Authorization: Bearer {self.text}')}"

    @property
    def note(self) -> str:
        """What to tell of it."""
        if self.text is None:
            return f"{_KEY_VARIABLE}=aip_...; python -m aiplat.jobs.keys create owner=<name>"
        return f"{self.text}    (it is not shown again)"


def guide(
    url: str,
    dashboard_url: str,
    models: Sequence[ModelInfo],
    credential: Credential | None = None,
    grpc_address: str | None = None,
) -> str:
    """The addresses of the endpoint, and commands for a shell that ask each model.

    credential: None where the endpoint needs none. grpc_address: None where it answers no gRPC.
    """
    lines = [f"endpoint   {url}", f"try it     {url}/docs"]
    if grpc_address:
        lines.append(f"gRPC       {grpc_address}")
    if dashboard_url:
        lines.append(f"dashboard  {dashboard_url}/#/serve")
    if credential:
        lines.append(f"API key    {credential.note}")
    for model in models:
        lines += ["", f"{model.name} version {model.version}, trained on {model.dataset}:"]
        lines += commands(url, model, credential).values()
    return "\n".join(lines) + "\n"


def commands(url: str, model: ModelInfo, credential: Credential | None = None) -> dict[str, str]:
    """Content type -> a command. The JSON one works as it is, the form needs an image at hand."""
    call = f"curl {shlex.quote(f'{url}/v1/models/{model.name}:predict')}"
    if credential:
        call += f" {credential.option}"
    row = example_row(model.inputs)
    body = json.dumps({"inputs": [row]}, ensure_ascii=False)
    by_json = f"{call} -H {shlex.quote(f'Content-Type: {JSON}')} -d {shlex.quote(body)}"
    parts = [_part(field.name, field.kind, row[field.name]) for field in model.inputs]
    return {JSON: by_json, FORM: " ".join([call, *parts])}


def _part(name: str, kind: str, value: Any) -> str:
    if kind == "image":
        return f"-F {shlex.quote(f'{name}=@{_IMAGE_FILE}')}"
    # Not -F: that would read a value that begins with @ or < from a file.
    return f"--form-string {shlex.quote(f'{name}={value}')}"
