"""Nodes that Ray's autoscaler makes on this machine, with whatever it is told that they have.

Ray has them for its own tests, as a provider of which its wheel lacks a file; named as a provider
from outside, they work. Only the autoscaler imports this.
"""

import os
from typing import Any

from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider
from ray.autoscaler.tags import TAG_RAY_USER_NODE_TYPE


class FakeNodes(FakeMultiNodeProvider):
    """See the module. The head is one that runs already, of the type the definition says."""

    def __init__(self, provider_config: dict[str, Any], cluster_name: str) -> None:
        super().__init__(provider_config, cluster_name)
        head = self._nodes[provider_config["head_node_id"]]
        head["tags"][TAG_RAY_USER_NODE_TYPE] = provider_config["head_node_type"]

    def create_node_with_resources_and_labels(
        self,
        node_config: dict[str, Any],
        tags: dict[str, str],
        count: int,
        resources: dict[str, float],
        labels: dict[str, str],
    ) -> None:
        """See Ray's NodeProvider."""
        # A node takes its label `ray.io/node-group` from here, which is the head's so far.
        with self.lock:
            os.environ["RAY_NODE_TYPE_NAME"] = tags[TAG_RAY_USER_NODE_TYPE]
            super().create_node_with_resources_and_labels(
                node_config, tags, count, resources, labels
            )
