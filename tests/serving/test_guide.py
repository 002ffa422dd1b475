import json
import shlex
from typing import Any

from fastapi.testclient import TestClient

from aiplat.serving.guide import commands, guide


def test_the_commands_ask_what_the_description_shows(client: TestClient, model: Any) -> None:
    described = client.get("/v1/models/reds").json()
    by_type = commands("http://host:1", model.info)
    address = "http://host:1/v1/models/reds:predict"
    json_words = shlex.split(by_type["application/json"])
    assert json_words[:4] == ["curl", address, "-H", "Content-Type: application/json"]
    assert json.loads(json_words[5]) == described["example"]
    form_words = shlex.split(by_type["multipart/form-data"])
    assert form_words[:4] == ["curl", address, "-F", "image=@photo.jpg"]
    assert form_words[4:6] == ["--form-string", "text=what colour is it?"]


def test_the_guide_has_every_address(model: Any) -> None:
    text = guide("http://host:1", "http://head:8265", [model.info])
    assert "http://host:1/docs" in text
    assert "http://head:8265/#/serve" in text
    assert "reds version 7, trained on colours@1234" in text
    assert all(command in text for command in commands("http://host:1", model.info).values())
    assert "dashboard" not in guide("http://host:1", "", [model.info])
