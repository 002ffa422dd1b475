"""The definitions that come with aiplat, as the command line changes them."""

from aiplat.cluster.definition import ClusterDefinition
from aiplat.config.compose import compose
from aiplat.jobs.cluster_schema import ClusterJobConfig


def defined(provider: str, *overrides: str) -> ClusterDefinition:
    return compose("cluster", ClusterJobConfig, [f"cluster={provider}", *overrides]).cluster
