"""Which replica is asked where many models share replicas.

Serve keeps this module by its value: nothing else of ours may be called here.
"""

import hashlib
from collections.abc import Mapping, Sequence

from ray.serve.request_router import (
    MultiplexMixin,
    PendingRequest,
    ReplicaID,
    RequestRouter,
    RunningReplica,
)


class PackedRouter(MultiplexMixin, RequestRouter):
    """Sends a request where its model is, and to one that has yet to load it where that is busy.

    Serve's own router takes a second replica only where the first is at `max_ongoing_requests`, and
    where all are, it offers again so rarely that they stand idle meanwhile.
    """

    def initialize_state(self, few_requests: float) -> None:
        """Take the settings. few_requests: a replica that has fewer in hand is not busy."""
        self._few_requests = few_requests

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """Groups of replicas: Serve takes the one with the fewest requests of the first group.

        The next group is for where nobody of that one answers.
        """
        if pending_request is None:
            return [candidate_replicas]
        # Else one that does not answer would be tried again without a pause.
        pending_request.routing_context.should_backoff = True
        model = pending_request.metadata.multiplexed_model_id
        ranks = self.rank_replicas_via_multiplex(candidate_replicas, model)
        known = self.replica_queue_len_cache
        busy = {
            each.replica_id: (known.get(each.replica_id) or 0) >= self._few_requests
            for each in candidate_replicas
        }
        return preferred(model, ranks, busy)


def preferred(
    model: str, ranks: Sequence[Sequence[RunningReplica]], busy: Mapping[ReplicaID, bool]
) -> list[list[RunningReplica]]:
    """Groups of replicas in the order in which they should be asked for a model.

    ranks: those that have it, those with the fewest models, the others.
    """
    having, *lacking = ranks
    idle = [
        # All that is asked at once goes to the same one, before it is known who loads the model.
        sorted(
            (each for each in rank if not busy[each.replica_id]),
            key=lambda each: _draw(model, each),
        )
        for rank in lacking
    ]
    return [
        [each for each in having if not busy[each.replica_id]],
        *([each] for rank in idle for each in rank),
        # Nobody has time: what is loaded already costs least.
        list(having),
        *(list(rank) for rank in lacking),
    ]


def _draw(model: str, replica: RunningReplica) -> bytes:
    """A number of the pair that is the same in every process."""
    return hashlib.blake2b(f"{model} {replica.replica_id}".encode()).digest()
