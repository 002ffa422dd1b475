import json
import shlex
from typing import Any

from fastapi.testclient import TestClient

from aiplat.serving.guide import Credential, commands, guide


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
    assert "gRPC" not in text
    assert "gRPC       host:2\n" in guide("http://host:1", "", [model.info], None, "host:2")


def test_commands_send_the_key_that_was_just_made(model: Any) -> None:
    credential = Credential("aip_k3v0q9x2ab_00ff")
    text = guide("http://host:1", "", [model.info], credential)
    assert "API key    aip_k3v0q9x2ab_00ff    (it is not shown again)" in text
    for command in commands("http://host:1", model.info, credential).values():
        words = shlex.split(command)
        assert words[2:4] == ["-H", "Authorization: Bearer aip_k3v0q9x2ab_00ff"]
        assert command in text


def test_commands_take_a_key_that_only_its_owner_knows_from_the_shell(model: Any) -> None:
    text = guide("http://host:1", "", [model.info], Credential())
    assert "python -m aiplat.jobs.keys create owner=<name>" in text
    for command in commands("http://host:1", model.info, Credential()).values():
        # In quotes of a kind in which a shell fills in the variable.
        assert '-H "Authorization: Bearer $AIPLAT_KEY"' in command
