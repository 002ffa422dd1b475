"""The job around clusters: what it writes, what it calls, and what it says when it cannot."""

from pathlib import Path

import pytest

from aiplat.cluster.status import NodeCount
from aiplat.config.command import status
from aiplat.errors import ConfigError, RegistryError
from aiplat.jobs.application import build
from aiplat.jobs.cluster import main
from aiplat.jobs.cluster_schema import ClusterJobConfig
from aiplat.jobs.cluster_table import table_of
from aiplat.registry.mlflow import Registry
from tests.cluster.render.clusters import defined
from tests.exported import color_folder
from tests.stores import storage_with_database


def call(*arguments: str) -> int:
    return status(main, "cluster", ClusterJobConfig, arguments)


def test_files_are_written_where_they_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("render", "cluster=aws", f"output={tmp_path}/mine") == 0
    assert capsys.readouterr().out == f"wrote {tmp_path}/mine/aws/cluster.yaml\n"
    assert "cluster_name: aiplat" in (tmp_path / "mine/aws/cluster.yaml").read_text()


def test_the_program_of_the_provider_is_called_and_its_status_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "kubectl"
    program.write_text('#!/bin/sh\necho "$1" "${2##*/}"\ntest "$1" = apply\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert call("up", "cluster=kuberay", f"output={tmp_path}") == 0
    assert "apply storage.yaml" in capfd.readouterr().out
    assert call("down", "cluster=kuberay", f"output={tmp_path}") == 2
    assert "ended with status 1" in capfd.readouterr().err


def test_a_program_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert call("status", "cluster=gcp") == 2
    assert capsys.readouterr().err == "ray is not installed on this machine\n"


def test_a_cluster_that_is_not_up_is_neither_shown_nor_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for action in ("status", "down"):
        assert call(action, f"storage={tmp_path}") == 0
        assert capsys.readouterr().out == "local is not up.\n"


def test_processes_of_this_machine_have_no_remote_record(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call("up", "storage=s3://bucket/aiplat") == 2
    assert "the record of a cluster of this machine is a file" in capsys.readouterr().err


def test_every_node_type_has_a_line_and_those_on_their_way_their_time() -> None:
    counts = {
        "gpu-small": NodeCount("gpu-small", busy=1, idle=1, pending=2, waited_s=33.6, failed=1),
        "unknown": NodeCount("unknown", busy=1),
    }
    table = table_of(defined("kuberay"), counts)
    lines = list(zip(*(column.cells for column in table.columns), strict=True))
    assert ("gpu-small", "8 CPUs, 1 GPUs", "2", "1", "2 (34 s)", "8", "1") in lines
    assert ("gpu-large", "48 CPUs, 8 GPUs", "0", "0", "0", "2", "0") in lines
    assert lines[-1] == ("unknown", "", "1", "0", "0", "", "0")


# Importing Ray Serve warns of what pydantic is going to drop.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_endpoint_of_a_service_is_what_the_job_would_deploy(tmp_path: Path) -> None:
    storage = storage_with_database(tmp_path / "storage")
    Registry(storage).register(str(color_folder(tmp_path / "colors")), "colors", "champion")
    with pytest.raises(RegistryError, match="did you mean 'colors'"):
        build({"overrides": ["models=[colours@champion]", f"storage={storage}"]})
    with pytest.raises(ConfigError, match=r"serve\.grpc_port is 9000, expected null"):
        build({"overrides": ["models=[colors@champion]", "serve.grpc_port=9000"]})
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary

    overrides = ["models=[colors@champion]", f"storage={storage}"]
    application = call_user_app_builder_with_args_if_necessary(build, {"overrides": overrides})
    assert application._bound_deployment.name == "endpoint"
