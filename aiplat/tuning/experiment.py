"""The settings of a trial as an experiment file of its own, which `train +exp=...` takes."""

from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf

from aiplat.config import sections

_HEAD = """# @package _global_
# {about}
# Complete in itself: every group is set here, whatever the defaults of the job.
"""


def experiment_file(
    config: Mapping[str, Any], root: type[Any], groups: list[str], about: str
) -> str:
    """The text of the file. What the job sets by itself is left out.

    config: a whole composed configuration. root: the dataclass that describes it. groups: the
    groups that the job's defaults choose options of.
    """
    # A chosen option's keys would be merged with those of the file.
    chosen = {"defaults": [{f"override /{group}": None} for group in groups] + ["_self_"]}
    said = _without(config, sections.defaults(root))
    body = OmegaConf.to_yaml(OmegaConf.create({**chosen, **said}))
    return _HEAD.format(about=about) + body


def _without(tree: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves that differ from the defaults; pluggable nodes stay whole."""
    kept: dict[str, Any] = {}
    for key, value in tree.items():
        if key in defaults and value == defaults[key]:
            continue
        before = defaults.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            kept[key] = _without(value, before)
        else:
            kept[key] = value
    return kept
