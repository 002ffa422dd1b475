"""The model registry: MLflow's registered models, versions and aliases as ours."""

import difflib
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

from aiplat.errors import RegistryError
from aiplat.registry.config import check_alias, check_name
from aiplat.registry.folder import CARD, ModelFolder
from aiplat.registry.versions import ModelVersion, fetch, parse_reference
from aiplat.store import files
from aiplat.store import mlflow as store

CHAMPION = "champion"

_ARTIFACT = "model"
_EXPERIMENT = "models"
# An MLflow description has a limit; a card with very many rows is cut.
_MAX_DESCRIPTION = 5000


class Registry:
    """The registered models of one storage root, or of the MLflow server or database `uri`."""

    def __init__(self, storage: str, uri: str | None = None) -> None:
        self.storage = storage
        self.uri = store.tracking_uri(storage, uri)

    def register(
        self, folder: str, name: str, alias: str | None = None, run_id: str | None = None
    ) -> ModelVersion:
        """Make the model version folder (a path or URI) a version of `name`.

        The same weights of the same run are registered once: again, it is the same version. `alias`
        moves to it in any case. Without a tracking run, or where its record is gone, it gets one.
        """
        check_name(name)
        if alias is not None:
            check_alias(alias)
        with tempfile.TemporaryDirectory() as scratch:
            local = _local(folder, Path(scratch))
            version = self._existing(name, local) or self._create(name, local, run_id)
        if alias is not None:
            self._client.set_registered_model_alias(name, alias, version)
        return self._version(name, version)

    def resolve(self, reference: str) -> ModelVersion:
        """The version that `clip@champion`, `clip:3` or `clip` means now.

        A name alone means its champion, and its newest version where there is none. Raises
        RegistryError naming what there is.
        """
        wanted = parse_reference(reference)
        self._require_database()
        model = self._model(wanted.name)
        aliases = {str(alias): int(version) for alias, version in model.aliases.items()}
        if wanted.version is not None:
            return self._version(wanted.name, wanted.version)
        if wanted.alias is None and CHAMPION not in aliases:
            return self._newest(wanted.name)
        alias = wanted.alias or CHAMPION
        if alias not in aliases:
            has = ", ".join(f"{known} ({version})" for known, version in sorted(aliases.items()))
            raise RegistryError(
                f"model {wanted.name!r} in {self.uri} has no alias {alias!r} "
                f"(it has: {has or 'none'}); set it with: python -m aiplat.jobs.register "
                f"model={wanted.name}:<version> alias={alias}"
            )
        return self._version(wanted.name, aliases[alias])

    def fetch(self, reference: str) -> tuple[ModelVersion, ModelFolder]:
        """The version that `reference` means, and its files on this machine."""
        version = self.resolve(reference)
        return version, fetch(version)

    def list_versions(self, name: str | None = None) -> list[ModelVersion]:
        """Every version of the model, or of all models, by name and version."""
        self._require_database()
        if name is not None:
            self._model(name)
        names = [name] if name is not None else self._names()
        found = [
            self._of_mlflow(entry, self._aliases(each))
            for each in names
            for entry in _pages(self._client.search_model_versions, filter_string=f"name='{each}'")
        ]
        return sorted(found, key=lambda version: (version.name, version.version))

    def set_alias(self, reference: str, alias: str) -> ModelVersion:
        """Move `alias` to the version that `reference` means."""
        check_alias(alias)
        version = self.resolve(reference)
        self._client.set_registered_model_alias(version.name, alias, version.version)
        return self._version(version.name, version.version)

    def _require_database(self) -> None:
        """Looking something up must not create an empty registry where a path is mistyped."""
        path = store.database_file(self.uri)
        if path is not None and not path.is_file():
            raise RegistryError(
                f"there is no model registry at {path}: nothing was trained or registered in "
                f"storage={self.storage} yet; check storage, or set tracking.uri"
            )

    @cached_property
    def _client(self) -> Any:
        return store.open_client(self.uri)

    def _existing(self, name: str, folder: ModelFolder) -> int | None:
        if name not in self._names():
            return None
        for version in self.list_versions(name):
            tags = self._client.get_model_version(name, version.version).tags
            same_run = tags.get("run") == folder.about["run"]
            if same_run and version.weights_sha256 == folder.about["weights_sha256"]:
                return version.version
        return None

    def _create(self, name: str, folder: ModelFolder, run_id: str | None) -> int:
        run = self._run(run_id, folder)
        self._client.log_artifacts(run.info.run_id, str(folder.path), _ARTIFACT)
        if name not in self._names():
            self._client.create_registered_model(name)
        about = folder.about
        tags = {key: str(about[key]) for key in ("run", "dataset", "commit", "weights_sha256")}
        for split, metrics in folder.metrics.items():
            tags |= {f"{split}.{metric}": f"{value:.6g}" for metric, value in metrics.items()}
        made = self._client.create_model_version(
            name,
            source=files.join(run.info.artifact_uri, _ARTIFACT),
            run_id=run.info.run_id,
            tags=tags,
            description=(folder.path / CARD).read_text()[:_MAX_DESCRIPTION],
        )
        return int(made.version)

    def _run(self, run_id: str | None, folder: ModelFolder) -> Any:
        """The run that made the model, or a finished one in its place."""
        from mlflow.exceptions import MlflowException

        if run_id:
            try:
                return self._client.get_run(run_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
        experiment = store.experiment_id(self._client, self.storage, self.uri, _EXPERIMENT)
        run = self._client.create_run(experiment, run_name=str(folder.about["run"]))
        self._client.set_terminated(run.info.run_id, "FINISHED")
        return run

    def _names(self) -> list[str]:
        return sorted(model.name for model in _pages(self._client.search_registered_models))

    def _model(self, name: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
        names = self._names()
        alike = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {alike[0]!r}?" if alike else ""
        raise RegistryError(
            f"there is no model {name!r} in {self.uri} (there are: {', '.join(names) or 'none'})"
            f"{hint}. Train with register.name=..., or register a run: "
            f"python -m aiplat.jobs.register run=<run> name={name}"
        )

    def _aliases(self, name: str) -> dict[int, tuple[str, ...]]:
        """Version -> its aliases, sorted."""
        found: dict[int, list[str]] = {}
        for alias, version in sorted(self._model(name).aliases.items()):
            found.setdefault(int(version), []).append(str(alias))
        return {version: tuple(aliases) for version, aliases in found.items()}

    def _newest(self, name: str) -> ModelVersion:
        versions = self.list_versions(name)
        if not versions:
            raise RegistryError(f"model {name!r} in {self.uri} has no versions: register a run")
        return versions[-1]

    def _version(self, name: str, version: int) -> ModelVersion:
        from mlflow.exceptions import MlflowException

        try:
            entry = self._client.get_model_version(name, str(version))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            has = ", ".join(str(known.version) for known in self.list_versions(name))
            raise RegistryError(
                f"model {name!r} in {self.uri} has no version {version} (it has: {has or 'none'})"
            ) from None
        return self._of_mlflow(entry, self._aliases(name))

    def _of_mlflow(self, entry: Any, aliases: dict[int, tuple[str, ...]]) -> ModelVersion:
        number = int(entry.version)
        return ModelVersion(
            name=entry.name,
            version=number,
            aliases=aliases.get(number, ()),
            uri=entry.source,
            tracking_uri=self.uri,
            run_id=entry.run_id or "",
            dataset=entry.tags.get("dataset", ""),
            weights_sha256=entry.tags.get("weights_sha256", ""),
        )


def _local(folder: str, scratch: Path) -> ModelFolder:
    if not files.is_remote(folder):
        return ModelFolder.open(Path(files.absolute(folder)))
    files.copy_folder(folder, str(scratch))
    return ModelFolder.open(scratch)


def _pages(search: Any, **arguments: Any) -> list[Any]:
    """All results of a search that answers page by page."""
    found: list[Any] = []
    token = None
    while True:
        page = search(page_token=token, **arguments)
        found += page
        token = page.token
        if not token:
            return found
