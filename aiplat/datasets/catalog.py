"""Which dataset versions a storage holds, and which of a name is the latest."""

import difflib

from aiplat.datasets.versions import MANIFEST, DatasetVersion, folder, read_version
from aiplat.errors import DataError
from aiplat.store import files

LATEST = "latest"


def _latest_uri(storage: str, name: str) -> str:
    return files.join(folder(storage, name), "latest.json")


def list_datasets(storage: str) -> list[str]:
    """The names under which the storage holds dataset versions, sorted."""
    return files.list_folders(files.join(storage, "datasets"))


def list_versions(storage: str, name: str) -> list[str]:
    """The complete versions of `name`, sorted by their hash, for a hash says nothing of time."""
    root = folder(storage, name)
    versions = files.list_folders(root)
    return [version for version in versions if files.exists(files.join(root, version, MANIFEST))]


def set_latest(storage: str, name: str, version: str) -> None:
    """Make `version` what `latest` means: the version ingested last, anew or again."""
    files.write_json(_latest_uri(storage, name), {"version": version})


def find_version(storage: str, name: str, version: str = LATEST) -> DatasetVersion:
    """Open a version by its hash, by the beginning of its hash, or as `latest`.

    Raises DataError naming what there is where the dataset or the version does not exist.
    """
    storage = files.absolute(storage)
    versions = list_versions(storage, name)
    if not versions:
        raise DataError(_unknown_dataset(storage, name))
    if version == LATEST:
        version = _latest(storage, name, versions)
    matches = [known for known in versions if known.startswith(version)]
    if len(matches) != 1:
        what = "no" if not matches else "more than one"
        raise DataError(
            f"dataset {name!r} in {storage} has {what} version {version!r}"
            f" (it has: {', '.join(versions)}); set dataset.version to one of them or to latest"
        )
    return read_version(files.join(folder(storage, name), matches[0]))


def _latest(storage: str, name: str, versions: list[str]) -> str:
    if files.exists(_latest_uri(storage, name)):
        return str(files.read_json(_latest_uri(storage, name))["version"])
    if len(versions) == 1:
        return versions[0]
    raise DataError(
        f"dataset {name!r} in {storage} does not say which version is the latest"
        f" (it has: {', '.join(versions)}); set dataset.version to one of them"
    )


def _unknown_dataset(storage: str, name: str) -> str:
    names = list_datasets(storage)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    has = ", ".join(names) or "none"
    return (
        f"there is no dataset {name!r} in {storage} (there are: {has}){hint}"
        f" Ingest it with: python -m aiplat.jobs.ingest dataset.name={name} source=..."
    )
