"""The configuration of the jobs around a cluster and its machines: see `schema`."""

from dataclasses import dataclass
from typing import Literal

from aiplat.cluster.definition import ClusterDefinition
from aiplat.config.words import word


@dataclass(kw_only=True)
class ClusterJobConfig:
    """Start a cluster, end it, say what is in it, or write the files that start it elsewhere.

    action: what to do; may be the first word.
    output: folder that the files of a cluster are written to, one folder for each provider.
    storage: folder that everything aiplat makes lands under, on this machine.
    """

    action: Literal["up", "down", "status", "render"] = word("status")
    cluster: ClusterDefinition
    output: str = "deploy"
    storage: str = "storage"
