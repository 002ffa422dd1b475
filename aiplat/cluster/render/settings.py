"""What every node of every cluster is told, however it is started."""

TOKEN_FILE = "~/.ray/auth_token"  # noqa: S105 - where the token is, not the token

# Settled before Ray starts, since a head and a node that decide differently cannot talk.
ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}

GCS_PORT = 6379
DASHBOARD_PORT = 8265
SERVE_PORT = 8000
METRICS_PORT = 8080
