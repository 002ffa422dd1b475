"""How a job joins its cluster: a person is told where to look at it."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from aiplat.cluster.scale import ClusterConfig
from aiplat.cluster.session import Session, connect


@contextmanager
def joined(console: Console, config: ClusterConfig) -> Iterator[Session]:
    """As `connect`; prints the address of the dashboard."""
    with connect(config) as session:
        if session.dashboard_url:
            console.print(f"Dashboard: {session.dashboard_url}", markup=False, highlight=False)
        yield session
