from contextlib import closing
from pathlib import Path

import pytest

from aiplat.config.command import status
from aiplat.config.compose import compose
from aiplat.errors import ConfigError
from aiplat.jobs.endpoint import books_of, credential_of
from aiplat.jobs.schema import ServeConfig
from aiplat.jobs.serve import main
from aiplat.registry.mlflow import Registry
from aiplat.serving.guide import Credential
from aiplat.serving.keys.store import KeyStore
from aiplat.store.records import open_records, records_url
from tests.exported import color_folder
from tests.stores import storage_with_database


@pytest.fixture
def storage(tmp_path: Path) -> str:
    root = storage_with_database(tmp_path / "storage")
    Registry(root).register(str(color_folder(tmp_path / "colors")), "colors", "champion")
    return root


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([], "models is empty"),
        (["models=[colours@champion]"], "did you mean 'colors'?"),
        (["models=[colors@champion,colors:1]"], "names 'colors' twice"),
        (["models=[colors]", "serve.max_rows=0"], "max_rows is 0, expected at least 1"),
        (["models=[colors]", "serve.autoscaling.max_replica=3"], "max_replicas"),
        (["models=[colors]", "serve.trusted_proxies=[10.0.0.1/8]"], "write 10.0.0.0/8"),
        (["models=[colors]", "records=mysql://db/keys"], "expected postgresql://user:password@"),
    ],
)
def test_what_cannot_be_served_is_said_before_a_cluster_starts(
    storage: str, capsys: pytest.CaptureFixture[str], overrides: list[str], said: str
) -> None:
    assert status(main, "serve", ServeConfig, [f"storage={storage}", *overrides]) == 2
    assert said in capsys.readouterr().err


def config_of(storage: str, *overrides: str) -> ServeConfig:
    return compose("serve", ServeConfig, [f"storage={storage}", "models=[colors]", *overrides])


def credential(config: ServeConfig) -> Credential | None:
    return credential_of(config, books_of(config))


def test_the_first_key_is_made_where_there_is_none_and_shown_once(tmp_path: Path) -> None:
    config = config_of(str(tmp_path))
    first = credential(config)
    assert first is not None
    assert first.text is not None
    assert first.text.startswith("aip_")
    assert credential(config) == Credential(None)


def test_no_key_is_made_where_none_is_asked_for(tmp_path: Path) -> None:
    for overrides in (["serve.auth=false"], ["serve.down=true"]):
        assert credential(config_of(str(tmp_path), *overrides)) is None
    with closing(open_records(records_url(str(tmp_path), None))) as opened:
        assert KeyStore(opened).listed() == []


def test_taking_down_makes_no_database(tmp_path: Path) -> None:
    books_of(config_of(str(tmp_path), "serve.down=true"))
    assert list(tmp_path.iterdir()) == []


def test_books_of_a_storage_that_holds_no_database_need_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="set records=postgresql://"):
        books_of(config_of("s3://bucket/aiplat"))
