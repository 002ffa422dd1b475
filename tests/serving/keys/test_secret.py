import re

import pytest

from aiplat.serving.keys import secret


def test_a_key_is_read_back_and_proves_itself() -> None:
    text = secret.new_key_text()
    assert re.fullmatch(r"aip_[a-z][a-z0-9]{9}_[0-9a-f]{64}", str(text))
    assert secret.parsed(str(text)) == text
    kept = secret.hashed(text.secret)
    assert text.secret not in kept
    assert secret.matches(text.secret, kept)
    other = secret.new_key_text()
    assert other != text
    assert not secret.matches(other.secret, kept)
    assert not secret.matches(text.secret, None)
    assert not secret.matches("", None)


def test_a_key_does_not_show_its_secret_by_accident() -> None:
    text = secret.new_key_text()
    assert text.secret not in repr(text)
    assert text.secret not in repr([text])


@pytest.mark.parametrize(
    "text",
    ["", "aip_", "aip_k3v0q9x2ab", "aip_k3v0q9x2ab_zz", "sk_k3v0q9x2ab_" + "0" * 64, "é" * 80],
)
def test_what_is_no_key_is_not_taken_for_one(text: str) -> None:
    assert secret.parsed(text) is None


@pytest.mark.parametrize("typed", ["k3v0q9x2ab", "aip_k3v0q9x2ab", f"aip_k3v0q9x2ab_{'0' * 64} "])
def test_a_prefix_is_found_in_what_people_paste(typed: str) -> None:
    assert secret.typed_prefix(typed) == "k3v0q9x2ab"


@pytest.mark.parametrize("typed", ["", "k3v0", "3kv0q9x2ab", "aip-k3v0q9x2ab"])
def test_what_has_no_prefix_is_told_apart(typed: str) -> None:
    assert secret.typed_prefix(typed) is None
