"""A Python client of the endpoint: it speaks HTTP, and needs neither torch nor a cluster."""

from aiplat.client.answers import Field, ModelDescription, ModelSummary, Predictions
from aiplat.client.clients import AsyncClient, Client
from aiplat.client.errors import (
    AuthenticationError,
    ClientError,
    ConnectionFailedError,
    FieldProblem,
    InvalidRequestError,
    NotFoundError,
    ProblemError,
    RateLimitError,
    ServerError,
)
from aiplat.client.retries import Retries

__all__ = [
    "AsyncClient",
    "AuthenticationError",
    "Client",
    "ClientError",
    "ConnectionFailedError",
    "Field",
    "FieldProblem",
    "InvalidRequestError",
    "ModelDescription",
    "ModelSummary",
    "NotFoundError",
    "Predictions",
    "ProblemError",
    "RateLimitError",
    "Retries",
    "ServerError",
]
