"""What requests cost."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from aiplat.errors import ConfigError


@dataclass
class Price:
    """Of one endpoint.

    per_1000_requests, per_compute_second: in the currency of the list; a compute second is one of
    a replica whose model runs for the request. free_requests: of a key in a calendar month (UTC).
    """

    per_1000_requests: float = 0.0
    per_compute_second: float = 0.0
    free_requests: int = 0

    def __post_init__(self) -> None:
        for name in ("per_1000_requests", "per_compute_second", "free_requests"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected at least 0")

    def of(self, requests: int, compute_s: float, free: int) -> float:
        """What so many answered requests cost, of which the first `free` cost nothing.

        The compute time of the free ones is taken to be that of the others.
        """
        if requests == 0:
            return 0.0
        share = max(0, requests - free) / requests
        return share * (
            requests / 1000 * self.per_1000_requests + compute_s * self.per_compute_second
        )


@dataclass
class PriceList:
    """Prices of all endpoints. endpoints: by name, where they differ from `default`."""

    currency: str = "EUR"
    default: Price = field(default_factory=Price)
    endpoints: dict[str, Price] = field(default_factory=dict)

    def of(self, endpoint: str) -> Price:
        """The price of an endpoint."""
        known: Mapping[str, Price] = self.endpoints
        return known.get(endpoint, self.default)
