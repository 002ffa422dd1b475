"""What one request used: the line of a bill."""

import time
import uuid
from dataclasses import dataclass, field


def new_id() -> str:
    """A prediction id: in the answer, in the usage record and in the log."""
    return uuid.uuid4().hex


@dataclass
class UsageRecord:
    """One request that a model was asked with, whether it was answered or not.

    prediction_id: names the request; a record is counted once, however often it is handed in.
    at: when the answer was ready, in seconds since 1970. key: id of the API key, "" without
    one. endpoint: the model's name in the URL. status: of the HTTP answer. compute_s: its rows'
    share of the model's passes. queue_s: on the replica before its first pass. model_s: on the
    replica in all. total_s: from the request's first byte to the answer's last.
    """

    endpoint: str
    prediction_id: str = field(default_factory=new_id)
    at: float = field(default_factory=time.time)
    key: str = ""
    principal: str = ""
    version: str = ""
    replica: str = ""
    status: int = 0
    rows: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    compute_s: float = 0.0
    queue_s: float = 0.0
    model_s: float = 0.0
    total_s: float = 0.0
