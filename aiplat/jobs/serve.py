"""Answer HTTP requests with models of the registry, until Ctrl-C."""

import signal
from typing import Any, NoReturn

from rich.console import Console

from aiplat.cluster.session import Session, connect
from aiplat.config import command
from aiplat.errors import ConfigError
from aiplat.jobs.endpoint import books_of, credential_of, models_of
from aiplat.jobs.schema import ServeConfig
from aiplat.jobs.serve_follow import Follower, Models
from aiplat.serving.guide import guide


def main(config: ServeConfig) -> None:
    """Deploy the models and say where they answer; take them down at the end, unless detached."""
    # Not wrapped: what is shown here is there to be copied.
    console = Console(soft_wrap=True, highlight=False)
    models = models_of(config)
    books = books_of(config)
    with connect(config.cluster) as session:
        # Ray reads its settings while it is imported, and `connect` makes them.
        from aiplat.cluster import serve

        # After Ray, which has one of its own; what ends a job from outside ends it like Ctrl-C.
        signal.signal(signal.SIGTERM, _interrupt)
        if config.serve.down:
            was_there = serve.take_down()
            console.print("The endpoint is down." if was_there else "There was no endpoint.")
            return
        _require_cluster_that_stays(config, session)
        with console.status("Starting replicas"):
            deployed = serve.deploy(models, config.serve, books)
        # Now, since a key that is made for an endpoint that does not start is never shown.
        credential = credential_of(config, books)
        told = guide(
            deployed.url,
            session.dashboard_url,
            deployed.models,
            credential,
            deployed.grpc_address,
        )
        console.print(told, markup=False)
        if config.serve.detach:
            console.print(
                "It stays; take it down with: python -m aiplat.jobs.serve serve.down=true"
            )
            return
        try:
            console.print("Ctrl-C takes it down.")

            def deploy(models: Models) -> object:
                return serve.deploy(models, config.serve, books)

            follower = Follower(console, lambda: models_of(config), deploy, models)
            follower.follow(config.serve.follow_s)
        except KeyboardInterrupt:
            console.print("Taking the endpoint down.")
        finally:
            serve.take_down()


def _interrupt(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


def _require_cluster_that_stays(config: ServeConfig, session: Session) -> None:
    if config.serve.detach and session.started_here:
        raise ConfigError(
            "serve.detach=true needs a cluster that outlives this job, and the one it started ends "
            "with it: run 'ray start --head' first, or set cluster.address"
        )


if __name__ == "__main__":
    command.run(main, "serve", ServeConfig)
