"""Answer HTTP requests with models of the registry, until Ctrl-C."""

import signal
import threading
from typing import Any, NoReturn

from rich.console import Console

from aiplat.cluster.session import Session, connect
from aiplat.config import command
from aiplat.errors import ConfigError
from aiplat.jobs.schema import ServeConfig
from aiplat.registry.mlflow import Registry
from aiplat.registry.versions import ModelVersion
from aiplat.serving.guide import guide
from aiplat.store import files


def main(config: ServeConfig) -> None:
    """Deploy the models and say where they answer; take them down at the end, unless detached."""
    # Not wrapped: what is shown here is there to be copied.
    console = Console(soft_wrap=True, highlight=False)
    models = _models(config)
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
            deployed = serve.deploy(models, config.serve)
        console.print(guide(deployed.url, session.dashboard_url, deployed.models), markup=False)
        if config.serve.detach:
            console.print(
                "It stays; take it down with: python -m aiplat.jobs.serve serve.down=true"
            )
            return
        try:
            console.print("Ctrl-C takes it down.")
            threading.Event().wait()
        except KeyboardInterrupt:
            console.print("Taking the endpoint down.")
        finally:
            serve.take_down()


def _models(config: ServeConfig) -> dict[str, ModelVersion]:
    """Name -> the version to serve under it; none where the endpoint is to be taken down."""
    if config.serve.down:
        return {}
    if not config.models:
        raise ConfigError("models is empty: name what to serve, as in models=[clip@champion]")
    registry = Registry(files.absolute(config.storage), config.tracking.get("uri"))
    models: dict[str, ModelVersion] = {}
    for version in map(registry.resolve, config.models):
        if version.name in models:
            raise ConfigError(f"models names {version.name!r} twice: serve one version of a model")
        models[version.name] = version
    return models


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
