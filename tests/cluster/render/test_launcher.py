"""A cluster on AWS and Google Cloud, against the schema of Ray's own launcher."""

from typing import Any

import pytest
from ray.autoscaler._private.util import prepare_config, validate_config

from aiplat.cluster.render.launcher import launcher_config
from aiplat.errors import ConfigError
from tests.cluster.render.clusters import defined

PROVIDERS = ["aws", "gcp"]


def rendered(provider: str, *overrides: str) -> dict[str, Any]:
    return launcher_config(defined(provider, *overrides))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_rays_launcher_takes_it(provider: str) -> None:
    config = rendered(provider)
    validate_config(config)
    # What it fills in of its own must neither break it nor bring another Ray.
    whole = prepare_config(config)
    validate_config(whole)
    assert not any("pip install" in command for command in whole["setup_commands"])


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_key_that_the_launcher_does_not_know_is_refused_by_it(provider: str) -> None:
    config = rendered(provider)
    config["available_node_types"]["cpu"]["max_worker"] = 3
    # Of the library jsonschema, which is Ray's and not ours.
    with pytest.raises(Exception, match="'max_worker' was unexpected"):
        validate_config(config)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_node_types_grow_as_the_definition_says(provider: str) -> None:
    config = rendered(provider, "cluster.node_types.gpu-small.max_nodes=3")
    types = config["available_node_types"]
    small = types["gpu-small"]
    assert (small["min_workers"], small["max_workers"]) == (0, 3)
    assert (small["resources"]["CPU"], small["resources"]["GPU"]) == (8, 1)
    assert config["max_workers"] == 8 + 16 + 3 + 8 + 2
    assert (config["head_node_type"], types["head"]["resources"]["CPU"]) == ("head", 0)
    assert types["gpu-large"]["idle_timeout_s"] == 600


def test_spot_machines_of_aws() -> None:
    types = rendered("aws")["available_node_types"]
    market = {
        name: kind["node_config"].get("InstanceMarketOptions") for name, kind in types.items()
    }
    spot = {"MarketType": "spot"}
    assert market == {
        "head": None,
        "cpu": None,
        "cpu-spot": spot,
        "gpu-small": None,
        "gpu-small-spot": spot,
        "gpu-large": None,
    }
    assert types["cpu-spot"]["labels"] == {"market-type": "spot"}
    assert types["cpu-spot"]["priority"] > types["cpu"]["priority"]


def test_gpus_and_spot_machines_of_google() -> None:
    types = rendered("gcp")["available_node_types"]
    node = types["gpu-small-spot"]["node_config"]
    assert node["guestAccelerators"] == [
        {"acceleratorType": "nvidia-tesla-t4", "acceleratorCount": 1}
    ]
    assert node["scheduling"] == [{"onHostMaintenance": "TERMINATE"}, {"preemptible": True}]
    assert "scheduling" not in types["cpu"]["node_config"]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_token_is_a_file_that_is_named_and_nothing_listens_outside(provider: str) -> None:
    config = rendered(provider)
    assert config["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}
    _, head, revival = config["head_start_ray_commands"]
    _, worker = config["worker_start_ray_commands"]
    # What was supervised on a head before goes on; a cluster where that fails is as good.
    assert revival == (
        f"python -m aiplat.jobs.submit revive storage={defined(provider).shared_storage} || true"
    )
    for command in (head, worker):
        assert "export RAY_AUTH_MODE=token" in command
    assert "--dashboard-host=127.0.0.1" in head
    assert "--address=$RAY_HEAD_IP:6379" in worker


def test_what_a_cloud_needs_is_asked_for_by_its_path() -> None:
    with pytest.raises(ConfigError, match=r"node_types.cpu has no instance: name its machine type"):
        defined("aws", "cluster.node_types.cpu.instance=null")
    with pytest.raises(ConfigError, match=r"node_types.gpu-small has GPUs: name their accelerator"):
        defined("gcp", "cluster.node_types.gpu-small.accelerator=null")
    with pytest.raises(ConfigError, match="needs the section 'aws'"):
        defined("aws", "cluster.aws=null")


def test_another_provider_is_none_of_the_launchers() -> None:
    with pytest.raises(ConfigError, match="provider=kuberay is none of Ray's cluster launcher"):
        launcher_config(defined("kuberay"))
