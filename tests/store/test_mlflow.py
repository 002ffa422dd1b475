from pathlib import Path

import pytest

from aiplat.errors import ConfigError
from aiplat.store.mlflow import artifact_location, open_client, tracking_uri


def test_without_a_uri_the_database_is_under_storage(tmp_path: Path) -> None:
    assert tracking_uri(str(tmp_path), None) == f"sqlite:///{tmp_path}/mlflow.db"
    assert artifact_location(str(tmp_path), "sqlite:///x", "a") == f"{tmp_path}/mlartifacts/a"


def test_an_object_store_cannot_hold_the_database() -> None:
    with pytest.raises(ConfigError, match=r"tracking\.uri is null.*s3://bucket.*http"):
        tracking_uri("s3://bucket", None)
    assert tracking_uri("s3://bucket", "http://server") == "http://server"


def test_files_of_a_database_elsewhere_go_to_the_object_store() -> None:
    uri = "postgresql://host/runs"
    assert artifact_location("s3://bucket", uri, "a") == "s3://bucket/mlartifacts/a"
    assert artifact_location("s3://bucket", "https://server", "a") is None


def test_a_server_that_does_not_answer_is_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"tracking\.uri=http://127\.0\.0\.1:9: no MLflow server"):
        open_client("http://127.0.0.1:9")


def test_a_uri_that_mlflow_does_not_know_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"tracking\.uri=nonsense://x"):
        open_client("nonsense://x")
