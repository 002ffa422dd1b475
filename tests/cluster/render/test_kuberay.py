"""A cluster on Kubernetes: what KubeRay reads, who may reach it, and where its secrets are."""

from typing import Any

import pytest
import yaml

from aiplat.cluster.render.kuberay import manifests
from aiplat.errors import ConfigError
from tests.cluster.render.clusters import defined
from tests.cluster.render.fields import faults

URI_BY_REFERENCE = "cluster.kubernetes.secrets.MLFLOW_TRACKING_URI=tracking/uri"
RESOURCES = ("ray-cluster", "ray-job", "ray-service")


def rendered(*overrides: str) -> dict[str, Any]:
    return manifests(defined("kuberay", *overrides))


def cluster_specs(documents: dict[str, Any]) -> list[dict[str, Any]]:
    service = documents["ray-service"]["spec"]["rayClusterConfig"]
    return [documents["ray-cluster"]["spec"], service]


def pods(spec: dict[str, Any]) -> dict[str, Any]:
    groups = {group["groupName"]: group for group in spec["workerGroupSpecs"]}
    return {
        name: group["template"]["spec"]
        for name, group in {"head": spec["headGroupSpec"], **groups}.items()
    }


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        [URI_BY_REFERENCE, "cluster.kubernetes.token_secret=ray-token"],
        ["cluster.shared_storage=s3://a/b"],
    ],
)
def test_every_document_has_only_fields_there_are(overrides: list[str]) -> None:
    documents = rendered(*overrides)
    assert {name: faults(document) for name, document in documents.items()} == {
        name: [] for name in documents
    }
    assert set(RESOURCES) <= set(documents)


def test_a_field_that_does_not_exist_is_found() -> None:
    document = rendered()["ray-cluster"]
    document["spec"]["autoscalerOptions"] |= {"version": "v3", "idleTimeout": 60}
    document["spec"]["workerGroupSpecs"][1]["template"]["spec"]["containers"][0]["port"] = 1
    assert faults(document) == [
        "spec.autoscalerOptions.version=v3",
        "spec.autoscalerOptions.idleTimeout",
        "spec.workerGroupSpecs[1].template.spec.containers[0].port",
    ]


def test_groups_grow_as_the_definition_says() -> None:
    spec = rendered(
        "cluster.node_types.gpu-large.max_nodes=5", "cluster.node_types.gpu-small.min_nodes=2"
    )["ray-cluster"]["spec"]
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["autoscalerOptions"]["version"] == "v2"
    groups = {
        group["groupName"]: (
            group["minReplicas"],
            group["maxReplicas"],
            group["idleTimeoutSeconds"],
        )
        for group in spec["workerGroupSpecs"]
    }
    assert groups == {
        "cpu": (1, 8, 300),
        "cpu-spot": (0, 16, 300),
        "gpu-small": (2, 8, 300),
        "gpu-small-spot": (0, 8, 300),
        "gpu-large": (0, 5, 600),
    }


def test_gpus_are_limits_of_the_pod_and_spot_nodes_are_labelled_and_preferred() -> None:
    spec = rendered()["ray-cluster"]["spec"]
    gpus = {
        name: pod["containers"][0]["resources"]["limits"].get("nvidia.com/gpu")
        for name, pod in pods(spec).items()
    }
    assert gpus == {
        "head": None,
        "cpu": None,
        "cpu-spot": None,
        "gpu-small": "1",
        "gpu-small-spot": "1",
        "gpu-large": "8",
    }
    small, spot = (
        next(group for group in spec["workerGroupSpecs"] if group["groupName"] == name)
        for name in ("gpu-small", "gpu-small-spot")
    )
    assert (small["labels"], spot["labels"]) == (
        {"market-type": "on-demand"},
        {"market-type": "spot"},
    )
    assert spot["priority"] > small["priority"]


def test_no_work_is_put_on_the_head_and_its_pod_has_cpus_all_the_same() -> None:
    head = rendered()["ray-cluster"]["spec"]["headGroupSpec"]
    assert head["rayStartParams"] == {"num-cpus": "0"}
    assert head["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "2"


def test_nodes_ask_for_a_token_and_secrets_are_references() -> None:
    documents = rendered(URI_BY_REFERENCE, "cluster.kubernetes.token_secret=ray-token")
    for spec in cluster_specs(documents):
        assert spec["authOptions"] == {"mode": "token", "secretName": "ray-token"}
        for pod in pods(spec).values():
            given = {item["name"]: item for item in pod["containers"][0]["env"]}
            assert given["MLFLOW_TRACKING_URI"] == {
                "name": "MLFLOW_TRACKING_URI",
                "valueFrom": {"secretKeyRef": {"name": "tracking", "key": "uri"}},
            }
            # The operator sets it; a second one would be another truth.
            assert "RAY_AUTH_MODE" not in given


def test_a_secret_in_place_of_its_reference_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match=r"expected <name of a Secret>/<key in it>") as refused:
        rendered("cluster.kubernetes.secrets.TOKEN=hunter2")
    assert "secrets.TOKEN is no reference" in str(refused.value)


def test_nobody_runs_as_root_and_the_dashboard_stays_inside() -> None:
    for spec in cluster_specs(rendered()):
        head = spec["headGroupSpec"]
        assert (head["serviceType"], head["enableIngress"]) == ("ClusterIP", False)
        for name, pod in pods(spec).items():
            assert pod["securityContext"]["runAsNonRoot"] is True
            assert pod["securityContext"]["runAsUser"] == 1000
            container = pod["containers"][0]["securityContext"]
            assert container["allowPrivilegeEscalation"] is False
            assert container["capabilities"] == {"drop": ["ALL"]}
            assert pod.get("automountServiceAccountToken") == (None if name == "head" else False)


def test_only_the_cluster_itself_reaches_rays_ports() -> None:
    documents = rendered("cluster.kubernetes.client_namespace=gateway")
    policy = documents["network-policy"]["spec"]
    ours = {"matchLabels": {"aiplat.io/cluster": "aiplat"}}
    assert (policy["podSelector"], policy["policyTypes"]) == (ours, ["Ingress"])
    inside, operator, clients = policy["ingress"]
    assert inside == {"from": [{"podSelector": ours}]}
    assert [port["port"] for port in operator["ports"]] == [8265, 8000]
    assert clients == {
        "from": [
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateway"}}}
        ],
        "ports": [{"protocol": "TCP", "port": 8000}],
    }
    for spec in cluster_specs(documents):
        for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
            assert group["template"]["metadata"]["labels"] == ours["matchLabels"]


def test_all_nodes_see_one_storage() -> None:
    documents = rendered("cluster.kubernetes.storage_class=shared", "cluster.shared_storage=/data")
    claim = documents["storage"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert claim["spec"]["storageClassName"] == "shared"
    for pod in pods(documents["ray-cluster"]["spec"]).values():
        (volume,), (mount,) = pod["volumes"], pod["containers"][0]["volumeMounts"]
        assert volume["persistentVolumeClaim"] == {"claimName": claim["metadata"]["name"]}
        assert (mount["name"], mount["mountPath"]) == (volume["name"], "/data")
    assert documents["ray-job"]["spec"]["entrypoint"].endswith(" storage=/data")


def test_an_object_store_needs_no_volume() -> None:
    documents = rendered("cluster.shared_storage=s3://bucket/aiplat")
    assert "storage" not in documents
    assert "volumes" not in pods(documents["ray-cluster"]["spec"])["cpu"]


def test_the_job_runs_on_the_cluster_that_is_there() -> None:
    job = rendered("cluster.name=shapes")["ray-job"]
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": "shapes"}
    assert (job["metadata"]["name"], job["spec"]["submissionMode"]) == ("shapes-job", "HTTPMode")


# Importing Ray Serve warns of what pydantic is going to drop.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_serve_is_told_is_what_its_schema_knows() -> None:
    from ray.serve.schema import ServeDeploySchema

    config = yaml.safe_load(
        rendered("cluster.kubernetes.models=[clip@champion,photos:3]")["ray-service"]["spec"][
            "serveConfigV2"
        ]
    )
    parsed = ServeDeploySchema.model_validate(config)
    # It takes keys it does not know without a word.
    assert set(config) <= set(ServeDeploySchema.model_fields)
    (application,) = parsed.applications
    assert set(config["applications"][0]) <= set(type(application).model_fields)
    assert application.import_path == "aiplat.jobs.application:build"
    assert application.args["overrides"] == [
        "models=[clip@champion,photos:3]",
        "storage=/shared/aiplat",
    ]
    assert parsed.http_options.port == 8000
