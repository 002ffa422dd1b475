from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from rich.console import Console

from aiplat.cluster.scale import ClusterConfig
from aiplat.cluster.session import Session
from aiplat.jobs import joining
from aiplat.jobs.joining import joined


@pytest.mark.parametrize(
    ("url", "told"),
    [("http://127.0.0.1:8265", "Dashboard: http://127.0.0.1:8265\n"), ("", "")],
)
def test_a_job_tells_where_the_dashboard_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str, told: str
) -> None:
    session = Session("127.0.0.1:6379", url, started_here=True)

    @contextmanager
    def connect(config: ClusterConfig) -> Iterator[Session]:
        yield session

    monkeypatch.setattr(joining, "connect", connect)
    with joined(Console(), ClusterConfig()) as found:
        assert found is session
        assert capsys.readouterr().out == told
