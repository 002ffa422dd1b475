"""Whether the nodes of a cluster agree: on versions and the time; and whether objects have room."""

import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from aiplat.cluster.scale import ClusterConfig
from aiplat.cluster.session import address_of, connect
from aiplat.doctor.finding import Finding, judged

_PARTS = ("ray", "torch", "aiplat")
# Files of a run are told apart by when they were written, and tokens by when they end.
_SKEW_S = 1.0
_LEAST_STORE_GB = 1.0
_ANSWER_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class NodeReport:
    """What a node says of itself. ahead_s: its clock, against that of who asks."""

    node: str
    versions: Mapping[str, str]
    ahead_s: float
    store_gb: float


def check_cluster(config: ClusterConfig) -> Iterator[Finding]:
    """What the nodes of a running cluster say; it joins one and starts none."""
    address = address_of(config)
    yield Finding("ray", metadata.version("ray"))
    if address is None:
        yield Finding("cluster", "none runs here; cluster.address=<address> checks another")
        return
    with connect(ClusterConfig(address=address)):
        reports = _asked()
        yield Finding("cluster", f"{len(reports)} nodes at {address}")
        yield from agreement(reports)


def agreement(reports: Sequence[NodeReport]) -> Iterator[Finding]:
    """Versions, clocks and object stores of the nodes, held against each other."""
    for part in ("python", *_PARTS):
        yield _version_finding(part, reports)
    late = max(reports, key=lambda report: abs(report.ahead_s))
    yield judged(
        "clocks",
        f"at most {abs(late.ahead_s):.2f} s apart",
        "ok" if abs(late.ahead_s) <= _SKEW_S else "warning",
        f"set the clock of node {late.node} by NTP (chrony, systemd-timesyncd)",
    )
    least = min(reports, key=lambda report: report.store_gb)
    yield judged(
        "object store",
        f"at least {least.store_gb:.1f} GB a node",
        "ok" if least.store_gb >= _LEAST_STORE_GB else "warning",
        f"node {least.node} spills datasets to its disk: give it more shared memory, or start it "
        "with --object-store-memory",
    )


def _version_finding(part: str, reports: Sequence[NodeReport]) -> Finding:
    by_version: dict[str, list[str]] = {}
    for report in reports:
        by_version.setdefault(report.versions.get(part, "none"), []).append(report.node)
    if len(by_version) == 1:
        return Finding(f"{part} on the nodes", next(iter(by_version)))
    told = "; ".join(f"{version} on {', '.join(nodes)}" for version, nodes in by_version.items())
    remedy = "start all nodes from one image or environment: they cannot read each other's objects"
    return Finding(f"{part} on the nodes", told, "problem", remedy)


def _asked() -> list[NodeReport]:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    told = ray.remote(num_cpus=0, max_retries=0)(_tell)
    reports = []
    for node in ray.nodes():
        if not node["Alive"]:
            continue
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        # The first call starts a process there, which takes long; the second is what is timed.
        for _ in range(2):
            began = time.time()
            versions, then = ray.get(
                told.options(scheduling_strategy=there).remote(), timeout=_ANSWER_TIMEOUT_S
            )
            middle = (began + time.time()) / 2
        store = node["Resources"].get("object_store_memory", 0.0) / 1e9
        name = f"{node['NodeManagerAddress']} ({node['NodeID'][:6]})"
        reports.append(NodeReport(name, versions, then - middle, store))
    return reports


def _tell() -> tuple[dict[str, str], float]:
    return _versions(), time.time()


def _versions() -> dict[str, Any]:
    found = {"python": platform.python_version()}
    for part in _PARTS:
        try:
            found[part] = metadata.version(part)
        except metadata.PackageNotFoundError:
            continue
    return found
