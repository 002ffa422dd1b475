import pytest

from aiplat.config.secrets import HIDDEN, without_secrets


@pytest.mark.parametrize(
    "key", ["token", "hub_token", "password", "api_key", "apikey", "WANDB_API_KEY", "client-secret"]
)
def test_a_secret_is_hidden_by_its_key(key: str) -> None:
    assert without_secrets({"a": {key: "s3cret"}}) == {"a": {key: HIDDEN}}


@pytest.mark.parametrize("key", ["pad_token", "tokenizer", "max_tokens", "keys", "monkey", "name"])
def test_what_only_sounds_like_a_secret_stays(key: str) -> None:
    assert without_secrets({key: "value"}) == {key: "value"}


def test_numbers_nulls_and_empty_texts_stay_under_any_key() -> None:
    tree = {"token": None, "password": "", "secret": 3}
    assert without_secrets(tree) == tree


def test_secrets_in_lists_are_hidden_too() -> None:
    assert without_secrets({"trackers": [{"token": "x"}, {"password": ["a", "b"]}]}) == {
        "trackers": [{"token": HIDDEN}, {"password": [HIDDEN, HIDDEN]}]
    }


def test_the_password_of_a_url_is_hidden_and_the_rest_readable() -> None:
    tree = {"uri": "postgresql+psycopg://ai:pa55@db:5432/runs", "at": "http://host:80/a@b"}
    assert without_secrets(tree) == {
        "uri": f"postgresql+psycopg://ai:{HIDDEN}@db:5432/runs",
        "at": "http://host:80/a@b",
    }


def test_a_password_among_the_options_of_a_url_is_hidden() -> None:
    given = "postgresql://me:pa55@db/keys?sslmode=require&password=s3cret&user=me"
    told = f"postgresql://me:{HIDDEN}@db/keys?sslmode=require&password={HIDDEN}&user=me"
    assert without_secrets({"records": given}) == {"records": told}
