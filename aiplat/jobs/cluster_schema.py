"""The configuration of the jobs around a cluster and its machines: see `schema`."""

from dataclasses import dataclass, field
from typing import Literal

from aiplat.cluster.definition import ClusterDefinition
from aiplat.cluster.scale import ClusterConfig
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


@dataclass(kw_only=True)
class DoctorConfig:
    """Look for what is wrong with this machine and the cluster it belongs to, and say the remedy.

    format: `table` for people; `json` for programs, on the standard output. `--json` is the same.
    measure: whether disk, decoding, copies, all-reduce and HTTP are measured, too.
    cluster: whose nodes are asked; none is started.
    storage: folder or URI that everything aiplat makes lands under.
    """

    format: Literal["table", "json"] = "table"
    measure: bool = True
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    storage: str = "storage"
