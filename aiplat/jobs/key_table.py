"""API keys as a table: whose they are, what they allow, what of it is used."""

from collections.abc import Iterable, Mapping

from rich.box import SIMPLE
from rich.table import Table

from aiplat.serving.keys import times
from aiplat.serving.keys.key import ApiKey

_NONE = "-"


def table_of(keys: Iterable[ApiKey], used: Mapping[str, int], now: float) -> Table:
    """A line for each key.

    used: requests of this month by key id. now: seconds since 1970.
    """
    table = Table(box=SIMPLE, pad_edge=False)
    # A prefix is there to be copied.
    table.add_column("key", no_wrap=True)
    for name in ("owner", "state", "models", "limits", "from", "expires"):
        table.add_column(name, overflow="fold")
    for key in keys:
        state = key.state(now)
        table.add_row(
            key.prefix,
            key.principal,
            state,
            ", ".join(key.rights.scopes),
            _limits(key, used),
            ", ".join(map(str, key.rights.cidrs)) or "anywhere",
            "never" if key.expires_at is None else times.shown(key.expires_at),
            style="" if state == "active" else "dim",
        )
    return table


def _limits(key: ApiKey, used: Mapping[str, int]) -> str:
    rights, limits = key.rights, []
    if rights.rate is not None:
        limits.append(f"{rights.rate:g}/s, {rights.full_burst} at once")
    if rights.quota is not None:
        limits.append(f"{used.get(key.key_id, 0)} of {rights.quota} this month")
    return "; ".join(limits) or _NONE
