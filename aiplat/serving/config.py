"""How models are served: the settings of the endpoint, its replicas and what a request may ask."""

from dataclasses import dataclass, field

from aiplat.errors import ConfigError
from aiplat.inference.config import check_engine
from aiplat.serving.keys.addresses import Network, network

_LAST_PORT = 65_535
_MORE_THAN_NOTHING = (
    "max_body_mb",
    "max_megapixels",
    "request_timeout_s",
    "start_timeout_s",
    "max_key_age_s",
)


@dataclass
class BatchingConfig:
    """How rows of different requests are joined for one pass through the model.

    max_batch_size: rows of a pass at most.
    wait_s: how long the first row of a pass waits for others, where requests come so often that
        some are to be expected meanwhile; a lone request does not wait.
    """

    max_batch_size: int = 16
    wait_s: float = 0.005

    def __post_init__(self) -> None:
        _require_at_least("max_batch_size", self.max_batch_size, 1)
        _require_at_least("wait_s", self.wait_s, 0)


@dataclass
class AutoscalingConfig:
    """How many replicas a model has; Ray Serve moves the number with the load.

    max_replicas: replicas under the highest load.
    min_replicas: 0 lets an idle model go; its next request then waits for a new replica.
    target_ongoing_requests: requests a replica should have in hand; more of them add replicas.
    upscale_delay_s: how long the load must ask for more replicas before they start.
    downscale_delay_s: how long the load must do with fewer before some are let go.
    slo_p99_ms: what the 99th percentile of the time from a request's arrival at a replica to its
        answer should stay below. Where it does not because requests wait, a replica is added, one
        at a time, and none is let go while it is close to that; null: only the load counts.
    """

    min_replicas: int = 1
    max_replicas: int = 2
    target_ongoing_requests: float = 16.0
    upscale_delay_s: float = 5.0
    downscale_delay_s: float = 120.0
    slo_p99_ms: float | None = None

    def __post_init__(self) -> None:
        _require_at_least("min_replicas", self.min_replicas, 0)
        _require_at_least("max_replicas", self.max_replicas, max(1, self.min_replicas))
        if self.target_ongoing_requests <= 0:
            raise ConfigError(
                f"target_ongoing_requests is {self.target_ongoing_requests}, expected more than 0"
            )
        if self.slo_p99_ms is not None and self.slo_p99_ms <= 0:
            raise ConfigError(f"slo_p99_ms is {self.slo_p99_ms}, expected more than 0, or null")
        _require_at_least("upscale_delay_s", self.upscale_delay_s, 0)
        _require_at_least("downscale_delay_s", self.downscale_delay_s, 0)


@dataclass
class ReplicaConfig:
    """What each replica of a model is given.

    num_cpus: also the threads it computes with.
    num_gpus: may be a fraction; 0 keeps the model on the CPU.
    engine: what computes the model; `auto`: what `optimize` chose for this hardware and number of
        threads, where it did, else `eager`, which is torch as it is. One that is named is compiled
        as each replica starts, where that was not done before.
    precision: `auto` is that of the choice, else fp32, which answers as the model was evaluated;
        `bf16`, `fp16` and `int8` are quicker on some devices, and not every engine has them.
    max_ongoing_requests: requests a replica works on at most, beside those that wait; null: two
        full batches.
    max_surge_percent: how many replicas, of those there are, an update may start before it stops
        old ones; 0 replaces them in place, which needs no free CPUs but lets requests wait.
    shutdown_timeout_s: how long a replica may finish its requests before it is ended.
    """

    num_cpus: float = 1.0
    num_gpus: float = 0.0
    engine: str = "auto"
    precision: str = "auto"
    max_ongoing_requests: int | None = None
    max_surge_percent: int = 100
    shutdown_timeout_s: float = 20.0

    def __post_init__(self) -> None:
        check_engine(self.engine, self.precision)
        _require_at_least("num_cpus", self.num_cpus, 0)
        _require_at_least("num_gpus", self.num_gpus, 0)
        _require_at_least("max_surge_percent", self.max_surge_percent, 0)
        _require_at_least("shutdown_timeout_s", self.shutdown_timeout_s, 0)

    @property
    def threads(self) -> int:
        """Of the arithmetic of one replica."""
        return max(1, int(self.num_cpus))


@dataclass
class ServingConfig:
    """One HTTP endpoint over a few models.

    host: 127.0.0.1 answers this machine only, 0.0.0.0 everyone who can reach it.
    port: of the HTTP endpoint.
    grpc_port: where the Open Inference Protocol is answered over gRPC as well, on the same host;
        null: nowhere.
    colocate: whether the model computes in the process that answers HTTP, which saves passing each
        request on; null: where one model is served that is never let go and has no GPU, and where
        no endpoint over other processes is updated.
    models_per_replica: for many small models: all of them share the same replicas, each of which
        holds so many at most, loads a model when it is asked for and lets the one go that was not
        asked for longest; null: each model has replicas of its own.
    detach: leave the endpoint running on the cluster when the job ends.
    down: take the endpoint down instead of deploying it.
    auth: whether requests need an API key; `python -m aiplat.jobs.keys` makes them.
    trusted_proxies: networks, as 10.0.0.0/8, of proxies whose X-Forwarded-For is believed.
    max_key_age_s: how long keys are believed while their database does not answer; requests are
        then refused with 503.
    max_rows: rows of one request at most.
    max_body_mb: size of a request's body at most.
    max_text_chars: length of a text at most.
    max_megapixels: of all images of one request together, counted before they are decoded.
    max_queued_requests: requests that wait at most, for each replica, and for the first one where
        there is none; the next are answered with 503.
    request_timeout_s: how long a request may take to arrive (else 408), and then its answer (504).
    start_timeout_s: how long to wait for the endpoint to be ready; and how long one of several
        models that share a replica may take to load.
    follow_s: how often the job that serves looks whether an alias has moved, to serve the version
        it points to then; null: never. A detached endpoint has no such job.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    grpc_port: int | None = None
    colocate: bool | None = None
    models_per_replica: int | None = None
    detach: bool = False
    down: bool = False
    auth: bool = True
    trusted_proxies: list[str] = field(default_factory=list)
    max_key_age_s: float = 300.0
    max_rows: int = 64
    max_body_mb: float = 16.0
    max_megapixels: float = 64.0
    max_text_chars: int = 100_000
    max_queued_requests: int = 128
    request_timeout_s: float = 60.0
    start_timeout_s: float = 600.0
    follow_s: float | None = 5.0
    batching: BatchingConfig = field(default_factory=BatchingConfig)
    replica: ReplicaConfig = field(default_factory=ReplicaConfig)
    autoscaling: AutoscalingConfig = field(default_factory=AutoscalingConfig)

    def __post_init__(self) -> None:
        _require_at_least("max_rows", self.max_rows, 1)
        _require_at_least("max_text_chars", self.max_text_chars, 1)
        _require_at_least("max_queued_requests", self.max_queued_requests, 1)
        if self.models_per_replica is not None:
            _require_at_least("models_per_replica", self.models_per_replica, 1)
            if self.colocate:
                raise ConfigError(
                    "colocate=true computes one model in the process that answers HTTP, and "
                    f"models_per_replica is {self.models_per_replica}: leave one of them out"
                )
        for name in _MORE_THAN_NOTHING:
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected more than 0")
        if self.grpc_port is not None and (
            not 0 < self.grpc_port <= _LAST_PORT or self.grpc_port == self.port
        ):
            raise ConfigError(
                f"grpc_port is {self.grpc_port}, expected a port other than {self.port}, which is "
                "of HTTP, or null"
            )
        # Refused here, and not by a replica.
        _ = self.trusted_networks
        if self.follow_s is not None and self.follow_s <= 0:
            raise ConfigError(f"follow_s is {self.follow_s}, expected more than 0, or null")
        given = self.replica.max_ongoing_requests
        # With fewer, the next batch cannot gather while the model computes the present one.
        if given is not None and given < 2 * self.batching.max_batch_size:
            raise ConfigError(
                f"replica.max_ongoing_requests is {given}, expected at least twice "
                f"batching.max_batch_size ({self.batching.max_batch_size}), or null"
            )

    def is_colocated(self, num_models: int) -> bool:
        """Whether the model is to compute in the process that answers HTTP."""
        if self.models_per_replica is not None:
            return False
        if self.colocate is None:
            return (
                num_models == 1 and self.autoscaling.min_replicas > 0 and not self.replica.num_gpus
            )
        if self.colocate and num_models != 1:
            raise ConfigError(
                f"colocate=true is for an endpoint of one model, and models names {num_models}"
            )
        if self.colocate and self.autoscaling.min_replicas == 0:
            raise ConfigError(
                "colocate=true needs autoscaling.min_replicas of at least 1: without a process "
                "nobody would answer"
            )
        return self.colocate

    @property
    def max_in_hand(self) -> int:
        """Requests a replica has in hand at most: those it works on and those that wait."""
        works_on = self.replica.max_ongoing_requests or 2 * self.batching.max_batch_size
        return works_on + self.max_queued_requests

    @property
    def trusted_networks(self) -> tuple[Network, ...]:
        """The proxies whose word on a client's address is taken."""
        try:
            return tuple(network(text) for text in self.trusted_proxies)
        except ConfigError as error:
            raise ConfigError(f"trusted_proxies has {error}") from None

    @property
    def max_body_bytes(self) -> int:
        """The largest request body that is read."""
        return int(self.max_body_mb * 1e6)

    @property
    def max_pixels(self) -> int:
        """Pixels of all images of one request together."""
        return int(self.max_megapixels * 1e6)


def _require_at_least(name: str, value: float, least: float) -> None:
    if value < least:
        raise ConfigError(f"{name} is {value}, expected at least {least}")
