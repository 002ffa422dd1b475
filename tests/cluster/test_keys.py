"""API keys behind Ray Serve's own proxy: what is refused, from where, and how soon."""

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from aiplat.cluster.session import Session
from aiplat.registry.versions import ModelVersion
from aiplat.serving.config import ServingConfig
from aiplat.serving.keys.addresses import network
from aiplat.serving.keys.key import Rights
from aiplat.serving.keys.store import KeyStore
from aiplat.serving.metering.books import BooksPlace
from aiplat.store.records import open_records, records_url
from tests.serving.shapes import shapes_folder

# Ray Serve declares and uses its own deprecated settings.
pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

REVOKED_WITHIN_S = 5


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    return records_url(str(tmp_path_factory.mktemp("storage")), None)


@pytest.fixture(scope="module")
def store(database: str) -> Iterator[KeyStore]:
    records = open_records(database)
    yield KeyStore(records)
    records.close()


@pytest.fixture(scope="module")
def url(
    cluster: Session,
    serve_port: int,
    store: KeyStore,
    database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """The address of an endpoint that asks for keys."""
    from aiplat.cluster import serve

    folder = shapes_folder(tmp_path_factory.mktemp("shapes"))
    version = ModelVersion("shapes", 1, (), str(folder), "", "", "shapes@0123", "")
    books = BooksPlace(str(tmp_path_factory.mktemp("spool")), database)
    yield serve.deploy({"shapes": version}, ServingConfig(port=serve_port), books).url
    serve.take_down()


def status(url: str, path: str, body: bytes | None = None, **headers: str) -> int:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(  # noqa: S310
        f"{url}{path}", body, {"Content-Type": "application/json"} | given
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as response:
            response.read()
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_a_key_lets_in_as_soon_as_it_is_made_and_not_long_after_it_is_revoked(
    url: str, store: KeyStore
) -> None:
    key, text = store.create("acme", Rights(scopes=("shapes",)))
    assert status(url, "/v1/models", X_API_Key=text) == 200
    # Before its body is read, which is no JSON.
    assert status(url, "/v1/models/shapes:predict", b"[" * 300_000) == 401
    store.revoke(key.prefix)
    revoked = time.monotonic()
    while status(url, "/v1/models", X_API_Key=text) == 200:
        assert time.monotonic() - revoked < REVOKED_WITHIN_S
        time.sleep(0.1)
    assert status(url, "/v1/models", X_API_Key=text) == 401
    assert status(url, "/readyz") == 200


def test_the_proxy_tells_who_is_connected_and_takes_nobodys_word_for_it(
    url: str, store: KeyStore
) -> None:
    here = store.create("here", Rights(cidrs=(network("127.0.0.1"), network("::1"))))[1]
    elsewhere = store.create("elsewhere", Rights(cidrs=(network("10.0.0.0/8"),)))[1]
    assert status(url, "/v1/models", X_API_Key=here) == 200
    for forwarded in ("10.1.1.1", "10.1.1.1:443", "10.1.1.1, 127.0.0.1"):
        given: dict[str, Any] = {"X_Forwarded_For": forwarded}
        assert status(url, "/v1/models", X_API_Key=elsewhere, **given) == 403


def test_a_quota_is_counted_in_the_database(url: str, store: KeyStore) -> None:
    key, text = store.create("acme", Rights(quota=5))
    statuses = [status(url, "/v1/models", X_API_Key=text) for _ in range(7)]
    assert statuses == [200] * 5 + [429] * 2
    began = time.monotonic()
    while store.used().get(key.key_id, 0) < 5:
        assert time.monotonic() - began < REVOKED_WITHIN_S
        time.sleep(0.1)
    assert status(url, "/v1/models/shapes:predict", b"{}", X_API_Key=text) == 429


def test_what_was_let_in_is_written_down_when_the_endpoint_ends(url: str, store: KeyStore) -> None:
    from aiplat.cluster import serve

    key, text = store.create("acme", Rights(quota=100))
    assert [status(url, "/v1/models", X_API_Key=text) for _ in range(7)] == [200] * 7
    serve.take_down()
    assert store.used()[key.key_id] == 7
