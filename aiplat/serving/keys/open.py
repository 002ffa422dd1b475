"""Makes the gate of an endpoint's replica, ready to let requests in."""

from collections.abc import Awaitable, Callable

from aiplat.serving.config import ServingConfig
from aiplat.serving.gate import Gate, OpenGate


async def open_gate(
    config: ServingConfig,
    records: str,
    count_replicas: Callable[[], Awaitable[int]],
    refused: Callable[[str], None] = lambda _: None,
) -> Gate:
    """The gate that the configuration asks for; one that needs keys has read them once.

    records: the URL of their database. refused: told the reason of each refusal. Raises
    RecordsError where the database does not answer.
    """
    if not config.auth:
        return OpenGate()
    from aiplat.serving.keys.gate import KeyGate
    from aiplat.serving.keys.known import KnownKeys
    from aiplat.serving.keys.store import KeyStore
    from aiplat.store.records import open_records

    # A file that is not there is one of another machine: an empty one would refuse everybody.
    store = KeyStore(open_records(records, create=False))
    known = KnownKeys(store, count_replicas)
    await known.refresh()
    return KeyGate(known, config.trusted_networks, config.max_key_age_s, refused=refused)
