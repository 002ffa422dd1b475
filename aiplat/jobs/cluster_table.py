"""The nodes of a cluster as a table."""

from collections.abc import Mapping

from rich.box import SIMPLE
from rich.table import Table

from aiplat.cluster.definition import ClusterDefinition
from aiplat.cluster.status import NodeCount


def table_of(cluster: ClusterDefinition, counts: Mapping[str, NodeCount]) -> Table:
    """A line for each node type of the definition, and for any other the cluster has."""
    table = Table(box=SIMPLE, pad_edge=False)
    for name in ("node type", "of each", "running", "idle", "pending", "at most", "failed"):
        table.add_column(name)
    others = [name for name in counts if name not in cluster.node_types]
    for name in [*cluster.node_types, *others]:
        kind, count = cluster.node_types.get(name), counts.get(name, NodeCount(name))
        has = f"{kind.cpus} CPUs, {kind.gpus} GPUs" if kind else ""
        most = str(kind.max_nodes) if kind else ""
        table.add_row(
            name, has, str(count.running), str(count.idle), _pending(count), most, str(count.failed)
        )
    return table


def _pending(count: NodeCount) -> str:
    since = f" ({count.waited_s:.0f} s)" if count.waited_s is not None else ""
    return f"{count.pending}{since}"
