from typing import Any

import pytest

from aiplat.errors import ConfigError
from aiplat.serving.config import (
    AutoscalingConfig,
    BatchingConfig,
    ReplicaConfig,
    ServingConfig,
)


def test_a_replica_takes_two_full_batches_unless_told_otherwise() -> None:
    assert ServingConfig(batching=BatchingConfig(max_batch_size=5)).max_in_hand == 10 + 128
    told = ServingConfig(
        batching=BatchingConfig(max_batch_size=5), replica=ReplicaConfig(max_ongoing_requests=64)
    )
    assert told.max_in_hand == 64 + 128


def test_a_replica_that_could_not_fill_its_batches_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"twice batching.max_batch_size \(16\)"):
        ServingConfig(replica=ReplicaConfig(max_ongoing_requests=31))


@pytest.mark.parametrize(
    ("section", "values", "said"),
    [
        (AutoscalingConfig, {"min_replicas": 3, "max_replicas": 2}, "max_replicas is 2"),
        (AutoscalingConfig, {"min_replicas": 0, "max_replicas": 0}, "max_replicas is 0"),
        (AutoscalingConfig, {"target_ongoing_requests": 0}, "more than 0"),
        (AutoscalingConfig, {"slo_p99_ms": 0}, "slo_p99_ms is 0, expected more than 0, or null"),
        (BatchingConfig, {"max_batch_size": 0}, "max_batch_size is 0"),
        (ReplicaConfig, {"num_gpus": -1}, "num_gpus is -1"),
        (ReplicaConfig, {"engine": "openvno"}, "engine is 'openvno', expected one of auto, eager"),
        (ReplicaConfig, {"precision": "fp8"}, "precision is 'fp8'"),
        (ServingConfig, {"max_rows": 0}, "max_rows is 0"),
        (ServingConfig, {"models_per_replica": 0}, "models_per_replica is 0"),
        (
            ServingConfig,
            {"models_per_replica": 2, "colocate": True},
            "models_per_replica is 2: leave",
        ),
        (ServingConfig, {"max_body_mb": 0}, "max_body_mb is 0"),
        (ServingConfig, {"request_timeout_s": -1}, "request_timeout_s is -1"),
        (ServingConfig, {"max_key_age_s": 0}, "max_key_age_s is 0"),
        (ServingConfig, {"grpc_port": 8000}, "grpc_port is 8000, expected a port other than 8000"),
        (ServingConfig, {"grpc_port": 0}, "grpc_port is 0"),
    ],
)
def test_a_setting_out_of_its_range_is_named(
    section: type, values: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        section(**values)


def test_limits_are_counted_in_bytes_and_pixels() -> None:
    config = ServingConfig(max_body_mb=0.5, max_megapixels=2)
    assert (config.max_body_bytes, config.max_pixels) == (500_000, 2_000_000)


def test_proxies_are_networks_of_either_version() -> None:
    config = ServingConfig(trusted_proxies=["10.0.0.0/8", "::1"])
    assert [str(item) for item in config.trusted_networks] == ["10.0.0.0/8", "::1/128"]
    with pytest.raises(ConfigError, match=r"trusted_proxies has 'proxy' is no network"):
        ServingConfig(trusted_proxies=["proxy"])


def test_models_that_share_replicas_compute_apart_from_http() -> None:
    assert not ServingConfig(models_per_replica=2).is_colocated(1)


def test_one_model_that_is_never_let_go_computes_where_http_is_answered() -> None:
    assert ServingConfig().is_colocated(num_models=1)
    assert not ServingConfig().is_colocated(num_models=2)
    assert not ServingConfig(replica=ReplicaConfig(num_gpus=0.5)).is_colocated(num_models=1)
    idle = ServingConfig(autoscaling=AutoscalingConfig(min_replicas=0))
    assert not idle.is_colocated(num_models=1)
    assert not ServingConfig(colocate=False).is_colocated(num_models=1)


def test_models_that_cannot_be_colocated_are_refused() -> None:
    with pytest.raises(ConfigError, match="one model, and models names 2"):
        ServingConfig(colocate=True).is_colocated(num_models=2)
    idle = ServingConfig(colocate=True, autoscaling=AutoscalingConfig(min_replicas=0))
    with pytest.raises(ConfigError, match="min_replicas of at least 1"):
        idle.is_colocated(num_models=1)
