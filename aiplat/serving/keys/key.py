"""An API key as the platform keeps it: whose it is, what it allows and until when."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from aiplat.errors import ConfigError
from aiplat.registry.config import check_name
from aiplat.serving.keys.addresses import Address, Network, contains

EVERY_MODEL = "*"
_MAX_PRINCIPAL_CHARS = 255


@dataclass(frozen=True)
class Rights:
    """What a key allows.

    scopes: names of models, or `*`. cidrs: networks it may be used from; empty: from anywhere.
    rate: requests a second; burst: requests at once after a pause; None: a second's worth.
    quota: requests in a calendar month of UTC. None: without limit. Raises ConfigError where a
    value cannot be.
    """

    scopes: tuple[str, ...] = (EVERY_MODEL,)
    cidrs: tuple[Network, ...] = ()
    rate: float | None = None
    burst: int | None = None
    quota: int | None = None

    def __post_init__(self) -> None:
        if not self.scopes:
            raise ConfigError(f"scopes is empty: name models, or {EVERY_MODEL} for all")
        for scope in self.scopes:
            if scope != EVERY_MODEL:
                check_name(scope)
        if self.rate is not None and not 0 < self.rate < math.inf:
            raise ConfigError(f"rate is {self.rate}, expected more than 0 requests a second")
        if self.burst is not None and self.rate is None:
            raise ConfigError(f"burst is {self.burst} without a rate: set rate as well")
        for name in ("burst", "quota"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}, expected at least 1")

    def allows_model(self, name: str) -> bool:
        """Whether the model may be asked."""
        return EVERY_MODEL in self.scopes or name in self.scopes

    def allows_address(self, address: Address | None) -> bool:
        """Whether a request may come from the address; None: one that is not known."""
        return not self.cidrs or contains(self.cidrs, address)

    @property
    def full_burst(self) -> int:
        """Requests at once after a pause."""
        return self.burst or max(1, math.ceil(self.rate or 1))


@dataclass(frozen=True)
class ApiKey:
    """A key without its secret. Times in seconds since 1970; None: never.

    key_id: the prefix it was first made with; it stays when the key is rotated.
    """

    prefix: str
    key_id: str
    secret_hash: str
    principal: str
    rights: Rights
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None

    def is_expired(self, now: float) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= now

    def is_usable(self, now: float) -> bool:
        """Whether a request with it would be let in now, its limits aside."""
        return self.revoked_at is None and not self.is_expired(now)

    def state(self, now: float) -> str:
        """A word for a list of keys."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.is_expired(now) else "active"


def check_principal(name: str | None) -> str:
    """The name of a key's owner. Raises ConfigError where it is none."""
    if not name or not name.strip() or len(name) > _MAX_PRINCIPAL_CHARS or not name.isprintable():
        raise ConfigError(
            f"owner is {name!r}: name whose key it is, in at most {_MAX_PRINCIPAL_CHARS} characters"
        )
    return name.strip()


def scopes_shown(scopes: Sequence[str]) -> str:
    """Scopes in a message."""
    return "every model" if EVERY_MODEL in scopes else ", ".join(scopes)
