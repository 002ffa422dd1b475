"""How a replica of the endpoint comes to know of releases."""

from collections.abc import Awaitable, Callable, Sequence

from aiplat.serving.config import ServingConfig
from aiplat.serving.metering.books import Books
from aiplat.serving.releases.known import KnownReleases
from aiplat.serving.releases.release import Release
from aiplat.serving.releases.store import ReleaseStore
from aiplat.serving.served import ServedModel
from aiplat.store.records import open_records


def open_releases(
    config: ServingConfig,
    records: str,
    books: Books,
    open_candidate: Callable[[Release], Awaitable[ServedModel]],
    counted: Callable[[str], None],
) -> KnownReleases:
    """What is known of releases, as the database at `records` tells; it may be away for a while."""
    opened: list[ReleaseStore] = []

    def read() -> Sequence[Release]:
        if not opened:
            opened.append(ReleaseStore(open_records(records, create=False)))
        return opened[0].running()

    return KnownReleases(config, read, open_candidate, books.note, counted)
