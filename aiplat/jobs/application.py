"""The endpoint as Ray Serve's own configuration files name it: `import_path` of an application."""

from typing import Any

from aiplat.config.compose import compose
from aiplat.errors import ConfigError
from aiplat.jobs.endpoint import books_of, models_of
from aiplat.jobs.schema import ServeConfig


def build(arguments: dict[str, Any]) -> Any:
    """The application that `aiplat.jobs.serve` would deploy.

    arguments: `overrides` has what that job's command line would have.
    """
    config = compose("serve", ServeConfig, arguments["overrides"])
    if config.serve.grpc_port is not None:
        raise ConfigError(
            f"serve.grpc_port is {config.serve.grpc_port}, expected null: gRPC is answered where "
            "python -m aiplat.jobs.serve deploys the endpoint"
        )
    models, books = models_of(config), books_of(config)
    # Ray takes a while to import: faults of the configuration are told before.
    from aiplat.cluster.serve import application_of

    return application_of(models, config.serve, books)
