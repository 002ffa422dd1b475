"""Lets requests in that have an API key which allows them, within its limits."""

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Self

from fastapi import Request

from aiplat.serving.gate import KEY_HEADER, Caller
from aiplat.serving.keys import secret, times
from aiplat.serving.keys.addresses import Network, client_address
from aiplat.serving.keys.bucket import TokenBucket
from aiplat.serving.keys.key import ApiKey, scopes_shown
from aiplat.serving.keys.known import KnownKeys
from aiplat.serving.keys.refusals import RefusalError

_HOW = f"send it as 'Authorization: Bearer aip_...' or '{KEY_HEADER}: aip_...'"
_RETRY_UNCHECKED_S = 5


class KeyGate:
    """Asks every request for an API key.

    trusted_proxies: whose word on a client's address is taken. max_age_s: how long keys are
    believed that could not be read again. refusals: how many there were, by reason; refused: told
    of each.
    """

    needs_key = True

    def __init__(
        self,
        known: KnownKeys,
        trusted_proxies: Sequence[Network] = (),
        max_age_s: float = 300.0,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
        refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._refused = refused
        self.refusals: Counter[str] = Counter()
        self._known = known
        self._trusted = tuple(trusted_proxies)
        self._max_age_s = max_age_s
        self._clock, self._ticks = clock, ticks
        self._buckets: defaultdict[str, TokenBucket] = defaultdict(TokenBucket)

    async def __aenter__(self) -> Self:
        await self._known.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._known.__aexit__(*error)

    async def admit(self, request: Request, model: str | None) -> Caller:
        """See `Gate`. Every refusal is counted by its reason."""
        try:
            key = await self._recognised(request)
            request.state.caller = caller = Caller(key.key_id, key.principal)
            self._require_rights(key, request, model)
            self._take(key)
        except RefusalError as refusal:
            self.refusals[refusal.reason] += 1
            self._refused(refusal.reason)
            raise
        return caller

    async def _recognised(self, request: Request) -> ApiKey:
        """The key of the request, neither revoked nor expired."""
        text = _given(request)
        if text is None:
            raise RefusalError("missing", f"the request has no API key: {_HOW}")
        given = secret.parsed(text)
        key = await self._found(given) if given else None
        if key is None:
            # A new key, perhaps; 401 would tell a client to throw it away.
            if given and self._known.is_failing:
                raise self._unchecked()
            raise RefusalError("unknown", f"the API key is not one of this endpoint: {_HOW}")
        if self._known.age_s > self._max_age_s:
            raise self._unchecked()
        if key.revoked_at is not None:
            raise RefusalError("revoked", f"API key {key.prefix} was revoked")
        if key.expires_at is not None and key.is_expired(self._clock()):
            detail = f"API key {key.prefix} expired at {times.shown(key.expires_at)}"
            raise RefusalError("expired", detail)
        return key

    async def _found(self, given: secret.KeyText) -> ApiKey | None:
        key = self._matching(given)
        if key is None:
            # It may be newer than what is known. A wrong secret waits as a wrong prefix does.
            await self._known.renewed()
            key = self._matching(given)
        return key

    def _matching(self, given: secret.KeyText) -> ApiKey | None:
        key = self._known.find(given.prefix)
        is_right = secret.matches(given.secret, key.secret_hash if key else None)
        return key if is_right else None

    def _require_rights(self, key: ApiKey, request: Request, model: str | None) -> None:
        address = client_address(
            request.scope.get("client"), request.headers.getlist("x-forwarded-for"), self._trusted
        )
        if not key.rights.allows_address(address):
            told = f"address {address}" if address else "an address that cannot be told"
            raise RefusalError("address", f"API key {key.prefix} may not be used from {told}")
        if model is not None and not key.rights.allows_model(model):
            allowed = scopes_shown(key.rights.scopes)
            raise RefusalError(
                "scope", f"API key {key.prefix} may not ask {model!r}, only {allowed}"
            )

    def _take(self, key: ApiKey) -> None:
        """Count the request, where the limits of the key allow it."""
        rights, shares = key.rights, self._known.num_replicas
        if rights.rate is not None:
            rate, burst = rights.rate / shares, rights.full_burst / shares
            wait_s = self._buckets[key.key_id].take(rate, burst, self._ticks())
            if wait_s > 0:
                detail = (
                    f"API key {key.prefix} may ask {rights.rate:g} times a second, "
                    f"{rights.full_burst} times at once"
                )
                raise RefusalError("rate", detail, max(1, math.ceil(wait_s)))
        if rights.quota is not None:
            if self._known.used(key.key_id) >= rights.quota:
                now = self._clock()
                detail = (
                    f"API key {key.prefix} has used its {rights.quota} requests of "
                    f"{times.month(now)} (UTC)"
                )
                raise RefusalError("quota", detail, math.ceil(times.next_month(now) - now))
            self._known.count(key.key_id)

    def _unchecked(self) -> RefusalError:
        detail = (
            f"the database of keys has not answered for {self._known.age_s:.0f} s, so that the "
            "API key cannot be checked"
        )
        return RefusalError("unchecked", detail, _RETRY_UNCHECKED_S)


def _given(request: Request) -> str | None:
    """The key as the request has it."""
    scheme, _, text = request.headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer" and text.strip():
        return text.strip()
    return request.headers.get(KEY_HEADER, "").strip() or None
