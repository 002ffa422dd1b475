"""The files of a definition: what they hold, and where they are written."""

from pathlib import Path
from typing import Any

import yaml

from aiplat.cluster.definition import CLOUDS, ClusterDefinition
from aiplat.cluster.render.kuberay import manifests
from aiplat.cluster.render.launcher import launcher_config
from aiplat.errors import ConfigError

_HEAD = (
    "# Written by 'python -m aiplat.jobs.cluster render cluster={provider}': change the\n"
    "# configuration and write it again.\n"
)


def documents(cluster: ClusterDefinition) -> dict[str, dict[str, Any]]:
    """The documents of a cluster by the names of their files.

    Raises ConfigError for a cluster of this machine, which needs none.
    """
    if cluster.provider in CLOUDS:
        return {"cluster": launcher_config(cluster)}
    if cluster.provider == "kuberay":
        return manifests(cluster)
    raise ConfigError(
        f"provider={cluster.provider} starts processes of this machine and needs no files: use "
        "'up', or choose cluster=kuberay, aws or gcp"
    )


def text_of(cluster: ClusterDefinition, document: dict[str, Any]) -> str:
    """A document as YAML."""
    body = yaml.dump(document, Dumper=_Plain, sort_keys=False, width=100)
    return _HEAD.format(provider=cluster.provider) + body


def write_documents(cluster: ClusterDefinition, folder: Path) -> list[Path]:
    """Write all files of a definition to `<folder>/<provider>/`, and say which."""
    home = folder / cluster.provider
    home.mkdir(parents=True, exist_ok=True)
    written = []
    for name, document in documents(cluster).items():
        file = home / f"{name}.yaml"
        file.write_text(text_of(cluster, document))
        written.append(file)
    return written


class _Plain(yaml.SafeDumper):
    """Writes what occurs twice twice, and texts of several lines as they are read."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _lines(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    )


_Plain.add_representer(str, _lines)
