"""A release as the database knows it, and which requests it gives to the candidate."""

import hashlib
import uuid
from dataclasses import dataclass, field

RUNNING, SUCCEEDED, ROLLED_BACK, STOPPED = "running", "succeeded", "rolled_back", "stopped"

# Endpoints look for releases so often, and the job that watches one says so often that it does.
LOOK_S = 1.0
BEAT_S = 1.0
# After so long without a word from the job all requests go to the champion.
PATIENCE_S = 8.0


@dataclass(frozen=True)
class Release:
    """One version of a model that is to take over from another.

    endpoint: the model's name in the URL. champion, candidate: numbers of versions. weight: share
    of the askers whom the candidate answers; mirror: share of the requests that both are asked
    with. sticky: `key`, one asker is answered by one version; `none`, each request for itself.
    heartbeat: seconds since 1970, by the clock of the job; others only see that it changes.
    """

    endpoint: str
    champion: str
    candidate: str
    sticky: str = "key"
    weight: float = 0.0
    mirror: float = 0.0
    state: str = RUNNING
    reason: str = ""
    heartbeat: float = 0.0
    began_at: float = 0.0
    ended_at: float | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    def gives(self, asker: str) -> bool:
        """Whether the candidate answers this asker.

        A larger weight keeps those it answered before.
        """
        return _place(self.id, "weight", asker) < self.weight

    def mirrors(self, prediction_id: str) -> bool:
        """Whether both versions are asked with this request."""
        return _place(self.id, "mirror", prediction_id) < self.mirror


def _place(*words: str) -> float:
    """A place from 0 to below 1 that the words always have."""
    digest = hashlib.sha256("/".join(words).encode()).digest()
    return int.from_bytes(digest[:6], "big") / (1 << 48)
