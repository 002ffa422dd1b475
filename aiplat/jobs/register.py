"""Make a finished run a model version, or move an alias to a version there is."""

from rich.console import Console
from rich.table import Table

from aiplat.config import command
from aiplat.errors import RegistryError
from aiplat.jobs.schema import RegisterJobConfig
from aiplat.registry.mlflow import Registry
from aiplat.registry.versions import ModelVersion
from aiplat.store import files
from aiplat.training.run import Run


def main(config: RegisterJobConfig) -> None:
    """Register the run or move the alias, and show the model's versions."""
    console = Console(highlight=False, soft_wrap=True)
    storage = files.absolute(config.storage)
    registry = Registry(storage, config.tracking.get("uri"))
    if config.run is not None:
        run = _finished_run(storage, config.run)
        name = config.name or config.run
        version = registry.register(run.model, name, config.alias, run.tracking_id or None)
    else:
        version = registry.set_alias(str(config.model), str(config.alias))
    _show(console, registry.list_versions(version.name), version)


def _finished_run(storage: str, name: str) -> Run:
    root = files.join(storage, "runs")
    run = Run(name=name, uri=files.join(root, name))
    names = files.list_folders(root)
    if name not in names:
        raise RegistryError(
            f"there is no run {name!r} in {root} (there are: {', '.join(names) or 'none'})"
        )
    if not files.exists(run.model):
        raise RegistryError(
            f"run {name!r} is not finished, so it has no model yet ({run.uri}): train it to its end"
        )
    return run


def _show(console: Console, versions: list[ModelVersion], chosen: ModelVersion) -> None:
    table = Table(title=f"Versions of {chosen.name}")
    for column in ("version", "aliases", "dataset version"):
        table.add_column(column)
    for version in versions:
        style = "bold" if version.version == chosen.version else None
        table.add_row(version.id, ", ".join(version.aliases), version.dataset, style=style)
    console.print(table)
    console.print(f"model version: {chosen.id}")


if __name__ == "__main__":
    command.run(main, "register", RegisterJobConfig)
