"""Make, list, revoke and rotate the API keys of endpoints."""

import sys
import time
from typing import TYPE_CHECKING

from rich.console import Console

from aiplat.config import command
from aiplat.errors import ConfigError
from aiplat.jobs.key_table import table_of
from aiplat.jobs.schema import KeysConfig
from aiplat.serving.keys import times
from aiplat.serving.keys.addresses import network
from aiplat.serving.keys.key import Rights, check_principal
from aiplat.serving.keys.secret import typed_prefix

if TYPE_CHECKING:
    from aiplat.serving.keys.store import KeyStore

_SHOWN_CHARS = 12
_PIPE_WIDTH = 200


def main(config: KeysConfig) -> None:
    """Do with the keys of the database what is asked."""
    # A mistyped key should not wait for SQLAlchemy.
    from aiplat.serving.keys.store import KeyStore
    from aiplat.store.records import open_records, records_url

    records = open_records(records_url(config.storage, config.records))
    store = KeyStore(records)
    # Through a pipe, one key is one line.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    try:
        if config.action == "create":
            _tell(console, config, _created(store, config))
        elif config.action == "rotate":
            text = store.rotate(_prefix(config), times.duration_s(config.grace))[1]
            _tell(console, config, text)
        elif config.action == "revoke":
            key = store.revoke(_prefix(config))
            console.print(f"Key {key.prefix} of {key.principal} is revoked: endpoints refuse it")
        else:
            console.print(table_of(store.listed(config.owner), store.used(), time.time()))
    finally:
        records.close()


def _created(store: "KeyStore", config: KeysConfig) -> str:
    rights = Rights(
        scopes=tuple(config.scopes),
        cidrs=tuple(network(text) for text in config.cidrs),
        rate=config.rate,
        burst=config.burst,
        quota=config.quota,
    )
    ends = None if config.expires is None else times.moment(config.expires, time.time())
    return store.create(check_principal(config.owner), rights, ends)[1]


def _tell(console: Console, config: KeysConfig, text: str) -> None:
    if config.quiet:
        sys.stdout.write(f"{text}\n")
        return
    console.print(f"API key: {text}", markup=False, soft_wrap=True)
    console.print("It is not shown again. Send it as 'Authorization: Bearer <key>'.")


def _prefix(config: KeysConfig) -> str:
    prefix = typed_prefix(config.key or "")
    if prefix is None:
        # Not all of it: a key that was copied badly is still a secret.
        told = (config.key or "")[:_SHOWN_CHARS]
        raise ConfigError(f"key is {told!r}, which is no key's prefix: 'keys list' shows them")
    return prefix


if __name__ == "__main__":
    command.run(main, "keys", KeysConfig)
